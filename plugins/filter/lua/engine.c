//go:build luajit && cgo

#include "engine.h"

#include <arpa/inet.h>
#include <lauxlib.h>
#include <lua.h>
#include <luajit.h>
#include <lualib.h>
#include <stdlib.h>
#include <string.h>

#include "_cgo_export.h"

struct fnm_state {
	lua_State *L;
	uintptr_t handle; // of the Go side
	size_t used, limit;
	struct { int32_t at; } ctx; // the record that is judged; Lua writes it
	int start, run;             // in the registry
	char message[1024];
};

// allocate bounds what the state may hold.
static void *allocate(void *ud, void *ptr, size_t old, size_t new) {
	fnm_state *s = ud;
	if (new == 0) {
		free(ptr);
		s->used -= ptr ? old : 0;
		return NULL;
	}
	size_t used = s->used - (ptr ? old : 0) + new;
	if (used > s->limit && new > (ptr ? old : 0)) return NULL;
	void *p = realloc(ptr, new);
	if (p) s->used = used;
	return p;
}

static fnm_state *self(lua_State *L) { return lua_touserdata(L, lua_upvalueindex(1)); }

// thrown raises an error whose text Go has allocated.
static int thrown(lua_State *L, char *message) {
	luaL_where(L, 1);
	lua_pushstring(L, message);
	free(message);
	lua_concat(L, 2);
	return lua_error(L);
}

static int host_print(lua_State *L) {
	size_t n;
	const char *s = luaL_checklstring(L, 1, &n);
	fnmPrint(self(L)->handle, (char *)s, n > 1000 ? 1000 : n);
	return 0;
}

static int host_read(lua_State *L) {
	size_t n, size = 0;
	const char *path = luaL_checklstring(L, 1, &n);
	char *data = NULL, *message = fnmRead(self(L)->handle, (char *)path, n, &data, &size);
	if (message) return thrown(L, message);
	lua_pushlstring(L, data, size); // may fail: then the data stays until the process ends
	free(data);
	return 1;
}

static int host_agent(lua_State *L) {
	char text[64];
	lua_pushlstring(L, text, fnmAgent(self(L)->handle, (uint32_t)luaL_checknumber(L, 1), text));
	return 1;
}

static int host_prefixes(lua_State *L) {
	size_t n, file_len = 0;
	const char *text = luaL_checklstring(L, 1, &n);
	const char *file = luaL_optlstring(L, 2, "", &file_len);
	void *ranges = NULL;
	uint32_t count = 0;
	char *message = fnmPrefixes(self(L)->handle, (char *)text, n, (char *)file, file_len, &ranges, &count);
	if (message) return thrown(L, message);
	lua_pushlightuserdata(L, ranges);
	lua_pushnumber(L, count);
	return 2;
}

static int less(uint64_t hi, uint64_t lo, uint64_t than_hi, uint64_t than_lo) {
	return hi < than_hi || (hi == than_hi && lo < than_lo);
}

// contains looks an address up among sorted ranges that do not overlap.
static int contains(const void *ranges, uint32_t n, const uint8_t *a) {
	const fnm_range *r = ranges;
	uint64_t hi, lo;
	memcpy(&hi, a, 8);
	memcpy(&lo, a + 8, 8);
	hi = __builtin_bswap64(hi);
	lo = __builtin_bswap64(lo);
	uint32_t first = 0, last = n; // the first range that ends behind a
	while (first < last) {
		uint32_t middle = first + (last - first) / 2;
		if (less(r[middle].to_hi, r[middle].to_lo, hi, lo)) first = middle + 1;
		else last = middle;
	}
	return first < n && !less(hi, lo, r[first].from_hi, r[first].from_lo);
}

static int host_has(lua_State *L) {
	const char *text = luaL_checkstring(L, 3);
	uint8_t a[16] = {0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 255, 255};
	if (inet_pton(AF_INET, text, a + 12) != 1 && inet_pton(AF_INET6, text, a) != 1) return luaL_error(L, "%s is no address", text);
	lua_pushboolean(L, contains(lua_touserdata(L, 1), (uint32_t)luaL_checknumber(L, 2), a));
	return 1;
}

fnm_state *fnm_open(uintptr_t handle, size_t limit) {
	fnm_state *s = calloc(1, sizeof *s);
	if (!s) return NULL;
	s->handle = handle;
	s->limit = limit;
	s->L = lua_newstate(allocate, s);
	if (!s->L) { // a LuaJIT that takes no allocator: whoever calls looks at fnm_used
		s->limit = 0;
		s->L = luaL_newstate();
	}
	if (!s->L) {
		free(s);
		return NULL;
	}
	return s;
}

void fnm_close(fnm_state *s) {
	lua_close(s->L);
	free(s);
}

size_t fnm_used(fnm_state *s) { return s->limit ? s->used : (size_t)lua_gc(s->L, LUA_GCCOUNT, 0) << 10; }
const char *fnm_error(fnm_state *s) { return s->message; }
int fnm_at(fnm_state *s) { return s->ctx.at; }

static int failed(fnm_state *s) {
	const char *m = lua_tostring(s->L, -1);
	strncpy(s->message, m ? m : "an error that is no text", sizeof s->message - 1);
	lua_settop(s->L, 0);
	return 1;
}

struct texts { const char *common, *own; size_t common_len, own_len; };

static void function(lua_State *L, fnm_state *s, const char *name, lua_CFunction f) {
	lua_pushlightuserdata(L, s);
	lua_pushcclosure(L, f, 1);
	lua_setfield(L, -2, name);
}

static int engine(lua_State *L) {
	fnm_state *s = lua_touserdata(L, 1);
	struct texts *t = lua_touserdata(L, 2);
	lua_settop(L, 0);
	luaL_openlibs(L);
	if (luaL_loadbuffer(L, t->own, t->own_len, "=engine")) return lua_error(L);
	lua_newtable(L);
	function(L, s, "print", host_print);
	function(L, s, "read", host_read);
	function(L, s, "agent", host_agent);
	function(L, s, "prefixes", host_prefixes);
	function(L, s, "has", host_has);
	lua_pushlightuserdata(L, (void *)contains);
	lua_setfield(L, -2, "contains");
	lua_pushlightuserdata(L, &s->ctx);
	if (luaL_loadbuffer(L, t->common, t->common_len, "=common")) return lua_error(L);
	lua_call(L, 3, 2);
	s->run = luaL_ref(L, LUA_REGISTRYINDEX);
	s->start = luaL_ref(L, LUA_REGISTRYINDEX);
	return 0;
}

int fnm_engine(fnm_state *s, const char *common, size_t common_len, const char *own, size_t own_len) {
	struct texts t = {common, own, common_len, own_len};
	lua_pushcfunction(s->L, engine);
	lua_pushlightuserdata(s->L, s);
	lua_pushlightuserdata(s->L, &t);
	return lua_pcall(s->L, 2, 0, 0) ? failed(s) : 0;
}

// ended has a script fail whose time is over: at each instruction from then on,
// so that a pcall of its own does not keep it alive.
static void ended(lua_State *L, lua_Debug *ar) {
	(void)ar;
	lua_getfield(L, LUA_REGISTRYINDEX, "fnm_state");
	fnm_state *s = lua_touserdata(L, -1);
	lua_pop(L, 1);
	if (!fnmEnded(s->handle)) return;
	lua_sethook(L, ended, LUA_MASKCOUNT, 1);
	luaL_error(L, "it was interrupted");
}

static int bound(lua_State *L) {
	lua_setfield(L, LUA_REGISTRYINDEX, "fnm_state");
	luaJIT_setmode(L, 0, LUAJIT_MODE_ENGINE | LUAJIT_MODE_OFF); // compiled code looks at no hook
	lua_sethook(L, ended, LUA_MASKCOUNT, 100000);
	return 0;
}

int fnm_script(fnm_state *s, const char *name, const char *text, size_t len, int bounded) {
	if (bounded && lua_cpcall(s->L, bound, s)) return failed(s);
	if (luaL_loadbuffer(s->L, text, len, name) || lua_pcall(s->L, 0, 0, 0)) return failed(s);
	lua_rawgeti(s->L, LUA_REGISTRYINDEX, s->start);
	return lua_pcall(s->L, 0, 0, 0) ? failed(s) : 0;
}

int fnm_run(fnm_state *s, void *records, int n, int first) {
	lua_rawgeti(s->L, LUA_REGISTRYINDEX, s->run);
	lua_pushlightuserdata(s->L, records);
	lua_pushinteger(s->L, n);
	lua_pushinteger(s->L, first);
	s->ctx.at = -1; // of this batch no record yet: memory may be short before the first
	return lua_pcall(s->L, 3, 0, 0) ? failed(s) : 0;
}
