-- Leaves out what backups and speed tests move: large, wanted, and no attack.
local backup = prefixes{"192.0.2.0/28", "2001:db8:b::/48"}
local speed_tests = prefixes{"198.51.100.7"}
local rsync = ports{873, "5201-5210"}

function filter(r)
  if backup:either(r) and rsync:either(r) then return false end
  if speed_tests:src(r) or speed_tests:dst(r) then return false end
end
