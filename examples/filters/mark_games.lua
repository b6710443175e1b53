-- Gives traffic of game servers class 1, so that a counter and a threshold can
-- be about it: counter "games" { class = [1] }.
local games = ports{"27015-27050", 25565, "30120-30130"}

function filter(r)
  if r.protocol == 17 and games:dst(r) then r:mark(1) end
end
