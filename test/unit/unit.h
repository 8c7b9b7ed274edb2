/*
 * What the unit tests share: a case is one call of a check_ function and one line of output, and
 * the program's last line is their sum. Needs buf.c in the same program.
 */
#ifndef UNIT_H
#define UNIT_H

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../../tdispatch.h"

#define COUNT(table) (sizeof (table) / sizeof *(table))
/* A string constant as a span, NUL bytes and all; for the initializers of tables. */
#define TEXT(constant) { constant, sizeof (constant) - 1 }

static int unit_passed, unit_failed;

/* On one line, as it would stand in a C string, shortened in its middle. */
static inline void unit_print(struct span s)
{
	if (!s.p) {
		printf("NULL");
		return;
	}
	putchar('"');
	for (size_t i = 0; i < s.n; i++) {
		unsigned char c = (unsigned char)s.p[i];
		if (s.n > 600 && i == 400) {
			printf("\" ... %zu bytes ... \"", s.n - 500);
			i = s.n - 101;
		} else if (c == '\n') {
			printf("\\n");
		} else if (c == '"' || c == '\\') {
			printf("\\%c", c);
		} else if (c < 0x20 || c >= 0x7f) {
			printf("\\x%02x", c);
		} else {
			putchar(c);
		}
	}
	putchar('"');
}

/* name may hold any byte; what tells two cases of one name apart goes into `about`, or "". */
static inline bool unit_begin(bool ok, const char *about, struct span name)
{
	++*(ok ? &unit_passed : &unit_failed);
	printf("%s %s%s", ok ? "ok" : "not ok", about, *about ? " " : "");
	unit_print(name);
	return ok;
}

/* NULL and empty differ. */
static inline void check_span(const char *about, struct span name, struct span got,
	struct span wanted)
{
	bool ok = !got.p == !wanted.p && got.n == wanted.n &&
		(got.n == 0 || memcmp(got.p, wanted.p, got.n) == 0);

	if (!unit_begin(ok, about, name)) {
		printf(": got ");
		unit_print(got);
		printf(" wanted ");
		unit_print(wanted);
	}
	putchar('\n');
}

/* Compares what is in got and empties it. */
static inline void check_buf(const char *about, struct span name, struct buf *got,
	const char *wanted)
{
	buf_cstr(got);
	check_span(about, name, (struct span){ got->p, got->len }, span_of(wanted));
	got->len = 0;
}

static inline void check_str(const char *name, const char *got, const char *wanted)
{
	check_span("", span_of(name), span_of(got), span_of(wanted));
}

static inline void check_int(const char *name, int64_t got, int64_t wanted)
{
	if (!unit_begin(got == wanted, "", span_of(name)))
		printf(": got %" PRId64 " wanted %" PRId64, got, wanted);
	putchar('\n');
}

/* A copy of exactly its size on the heap, so that a sanitizer sees a read behind it. Caller
 * frees. */
static inline char *unit_exact(struct span s)
{
	char *p = mem_alloc(s.n);

	if (s.n)
		memcpy(p, s.p, s.n);
	return p;
}

/* The same numbers in every run: x is the state, never 0. */
static inline uint32_t unit_random(uint32_t *x)
{
	*x ^= *x << 13;
	*x ^= *x >> 17;
	*x ^= *x << 5;
	return *x;
}

static inline const char *unit_err(int code)
{
	return code == 0 ? "" : code == ERR_DATA ? "data" : code == ERR_CONF ? "conf" : "other";
}

/* The program's exit code. */
static inline int unit_end(void)
{
	printf("%d passed, %d failed\n", unit_passed, unit_failed);
	return unit_failed ? 1 : 0;
}

#endif
