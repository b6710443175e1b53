language = 1
language = 1
