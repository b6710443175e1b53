#ifndef FNM_LUAJIT_H
#define FNM_LUAJIT_H

#include <stddef.h>
#include <stdint.h>

// fnm_state is one Lua state: of one worker.
typedef struct fnm_state fnm_state;

// fnm_range is the addresses from … to, each as two halves.
typedef struct { uint64_t from_hi, from_lo, to_hi, to_lo; } fnm_range;

fnm_state *fnm_open(uintptr_t handle, size_t limit);
void fnm_close(fnm_state *s);
// The functions return 0, or 1 with fnm_error saying what went wrong.
int fnm_engine(fnm_state *s, const char *common, size_t common_len, const char *own, size_t own_len);
// A bounded script ends with an error once fnmEnded says so.
int fnm_script(fnm_state *s, const char *name, const char *text, size_t len, int bounded);
int fnm_run(fnm_state *s, void *records, int n, int first);
const char *fnm_error(fnm_state *s);
int fnm_at(fnm_state *s);
size_t fnm_used(fnm_state *s);

#endif
