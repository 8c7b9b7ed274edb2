/*
 * What the fuzz targets share. A target takes any bytes, checks what the file under test promises
 * about them and ends the process where a promise is broken. libFuzzer or driver.c calls it.
 */
#ifndef FUZZ_H
#define FUZZ_H

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../../tdispatch.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define CHECK(promise) ((promise) ? (void)0 : fuzz_broken(__FILE__, __LINE__, #promise))

static inline void fuzz_broken(const char *file, int line, const char *promise)
{
	fprintf(stderr, "%s:%d: broken: %s\n", file, line, promise);
	abort();
}

/* n bytes on the heap and no more, so that a sanitizer sees what is written or read behind them. */
static inline char *fuzz_room(size_t n)
{
	return mem_alloc(n);
}

static inline struct span fuzz_copy(const char *p, size_t n)
{
	char *room = fuzz_room(n);

	if (n)
		memcpy(room, p, n);
	return (struct span){ room, n };
}

static inline void fuzz_free(struct span copy)
{
	free((char *)(uintptr_t)copy.p);
}

/* The part of *rest before the first byte c, or all of it; *rest is what comes after c. */
static inline struct span fuzz_part(struct span *rest, char c)
{
	const char *at = rest->n ? memchr(rest->p, c, rest->n) : NULL;
	struct span part = { rest->p, at ? (size_t)(at - rest->p) : rest->n };
	size_t taken = part.n + (at != NULL);

	rest->p += taken;
	rest->n -= taken;
	return part;
}

/* 0 when there is none left. */
static inline unsigned fuzz_byte(struct span *rest)
{
	if (!rest->n)
		return 0;
	rest->n--;
	return (unsigned char)*rest->p++;
}

static inline bool fuzz_within(struct span inner, struct span outer)
{
	return inner.p >= outer.p && inner.n <= outer.n &&
		inner.p - outer.p <= (ptrdiff_t)(outer.n - inner.n);
}

/* A failure is one error of these codes, with one line for a person. */
static inline void fuzz_check_err(const struct err *e, int code, int or_code)
{
	CHECK(e->code == code || e->code == or_code);
	CHECK(e->msg[0] && strlen(e->msg) < sizeof e->msg);
}

#endif
