counter "c0" {
  source_port = 1
}
counter "c1" {
  source_port = 2
}
counter "c2" {
  source_port = 3
}
counter "c3" {
  source_port = 4
}
counter "c4" {
  source_port = 5
}
counter "c5" {
  source_port = 6
}
counter "c6" {
  source_port = 7
}
counter "c7" {
  source_port = 8
}
counter "c8" {
  source_port = 9
}
counter "c9" {
  source_port = 10
}
counter "c10" {
  source_port = 11
}
counter "c11" {
  source_port = 12
}
counter "c12" {
  source_port = 13
}
counter "c13" {
  source_port = 14
}
counter "c14" {
  source_port = 15
}
counter "c15" {
  source_port = 16
}
counter "c16" {
  source_port = 17
}
counter "c17" {
  source_port = 18
}
counter "c18" {
  source_port = 19
}
counter "c19" {
  source_port = 20
}
counter "c20" {
  source_port = 21
}
counter "c21" {
  source_port = 22
}
counter "c22" {
  source_port = 23
}
counter "c23" {
  source_port = 24
}
counter "c24" {
  source_port = 25
}
counter "c25" {
  source_port = 26
}
counter "c26" {
  source_port = 27
}
counter "c27" {
  source_port = 28
}
counter "c28" {
  source_port = 29
}
counter "c29" {
  source_port = 30
}
counter "c30" {
  source_port = 31
}
counter "c31" {
  source_port = 32
}
counter "c32" {
  source_port = 33
}
counter "c33" {
  source_port = 34
}
counter "c34" {
  source_port = 35
}
counter "c35" {
  source_port = 36
}
counter "c36" {
  source_port = 37
}
counter "c37" {
  source_port = 38
}
counter "c38" {
  source_port = 39
}
counter "c39" {
  source_port = 40
}
counter "c40" {
  source_port = 41
}
counter "c41" {
  source_port = 42
}
counter "c42" {
  source_port = 43
}
counter "c43" {
  source_port = 44
}
counter "c44" {
  source_port = 45
}
counter "c45" {
  source_port = 46
}
counter "c46" {
  source_port = 47
}
counter "c47" {
  source_port = 48
}
counter "c48" {
  source_port = 49
}
counter "c49" {
  source_port = 50
}
counter "c50" {
  source_port = 51
}
counter "c51" {
  source_port = 52
}
counter "c52" {
  source_port = 53
}
counter "c53" {
  source_port = 54
}
counter "c54" {
  source_port = 55
}
counter "c55" {
  source_port = 56
}
counter "c56" {
  source_port = 57
}
counter "c57" {
  source_port = 58
}
counter "c58" {
  source_port = 59
}
counter "c59" {
  source_port = 60
}
counter "c60" {
  source_port = 61
}
counter "c61" {
  source_port = 62
}
counter "c62" {
  source_port = 63
}
counter "c63" {
  source_port = 64
}
counter "c64" {
  source_port = 65
}
counter "c65" {
  source_port = 66
}

network "customers" {
  prefixes = ["203.0.113.0/24", "2001:db8::/32"]
}

hostgroup "default" {
  networks = [network.customers]
  threshold "t0" {
    counter = counter.c0
    pps     = 1
  }
  threshold "t1" {
    counter = counter.c1
    pps     = 1
  }
  threshold "t2" {
    counter = counter.c2
    pps     = 1
  }
  threshold "t3" {
    counter = counter.c3
    pps     = 1
  }
  threshold "t4" {
    counter = counter.c4
    pps     = 1
  }
  threshold "t5" {
    counter = counter.c5
    pps     = 1
  }
  threshold "t6" {
    counter = counter.c6
    pps     = 1
  }
  threshold "t7" {
    counter = counter.c7
    pps     = 1
  }
  threshold "t8" {
    counter = counter.c8
    pps     = 1
  }
  threshold "t9" {
    counter = counter.c9
    pps     = 1
  }
  threshold "t10" {
    counter = counter.c10
    pps     = 1
  }
  threshold "t11" {
    counter = counter.c11
    pps     = 1
  }
  threshold "t12" {
    counter = counter.c12
    pps     = 1
  }
  threshold "t13" {
    counter = counter.c13
    pps     = 1
  }
  threshold "t14" {
    counter = counter.c14
    pps     = 1
  }
  threshold "t15" {
    counter = counter.c15
    pps     = 1
  }
  threshold "t16" {
    counter = counter.c16
    pps     = 1
  }
  threshold "t17" {
    counter = counter.c17
    pps     = 1
  }
  threshold "t18" {
    counter = counter.c18
    pps     = 1
  }
  threshold "t19" {
    counter = counter.c19
    pps     = 1
  }
  threshold "t20" {
    counter = counter.c20
    pps     = 1
  }
  threshold "t21" {
    counter = counter.c21
    pps     = 1
  }
  threshold "t22" {
    counter = counter.c22
    pps     = 1
  }
  threshold "t23" {
    counter = counter.c23
    pps     = 1
  }
  threshold "t24" {
    counter = counter.c24
    pps     = 1
  }
  threshold "t25" {
    counter = counter.c25
    pps     = 1
  }
  threshold "t26" {
    counter = counter.c26
    pps     = 1
  }
  threshold "t27" {
    counter = counter.c27
    pps     = 1
  }
  threshold "t28" {
    counter = counter.c28
    pps     = 1
  }
  threshold "t29" {
    counter = counter.c29
    pps     = 1
  }
  threshold "t30" {
    counter = counter.c30
    pps     = 1
  }
  threshold "t31" {
    counter = counter.c31
    pps     = 1
  }
  threshold "t32" {
    counter = counter.c32
    pps     = 1
  }
  threshold "t33" {
    counter = counter.c33
    pps     = 1
  }
  threshold "t34" {
    counter = counter.c34
    pps     = 1
  }
  threshold "t35" {
    counter = counter.c35
    pps     = 1
  }
  threshold "t36" {
    counter = counter.c36
    pps     = 1
  }
  threshold "t37" {
    counter = counter.c37
    pps     = 1
  }
  threshold "t38" {
    counter = counter.c38
    pps     = 1
  }
  threshold "t39" {
    counter = counter.c39
    pps     = 1
  }
  threshold "t40" {
    counter = counter.c40
    pps     = 1
  }
  threshold "t41" {
    counter = counter.c41
    pps     = 1
  }
  threshold "t42" {
    counter = counter.c42
    pps     = 1
  }
  threshold "t43" {
    counter = counter.c43
    pps     = 1
  }
  threshold "t44" {
    counter = counter.c44
    pps     = 1
  }
  threshold "t45" {
    counter = counter.c45
    pps     = 1
  }
  threshold "t46" {
    counter = counter.c46
    pps     = 1
  }
  threshold "t47" {
    counter = counter.c47
    pps     = 1
  }
  threshold "t48" {
    counter = counter.c48
    pps     = 1
  }
  threshold "t49" {
    counter = counter.c49
    pps     = 1
  }
  threshold "t50" {
    counter = counter.c50
    pps     = 1
  }
  threshold "t51" {
    counter = counter.c51
    pps     = 1
  }
  threshold "t52" {
    counter = counter.c52
    pps     = 1
  }
  threshold "t53" {
    counter = counter.c53
    pps     = 1
  }
  threshold "t54" {
    counter = counter.c54
    pps     = 1
  }
  threshold "t55" {
    counter = counter.c55
    pps     = 1
  }
  threshold "t56" {
    counter = counter.c56
    pps     = 1
  }
  threshold "t57" {
    counter = counter.c57
    pps     = 1
  }
  threshold "t58" {
    counter = counter.c58
    pps     = 1
  }
  threshold "t59" {
    counter = counter.c59
    pps     = 1
  }
  threshold "t60" {
    counter = counter.c60
    pps     = 1
  }
  threshold "t61" {
    counter = counter.c61
    pps     = 1
  }
  threshold "t62" {
    counter = counter.c62
    pps     = 1
  }
  threshold "t63" {
    counter = counter.c63
    pps     = 1
  }
  threshold "t64" {
    counter = counter.c64
    pps     = 1
  }
  threshold "t65" {
    counter = counter.c65
    pps     = 1
  }
}
