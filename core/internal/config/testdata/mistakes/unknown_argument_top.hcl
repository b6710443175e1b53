langauge = 1
