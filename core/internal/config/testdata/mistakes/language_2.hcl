language = 2
