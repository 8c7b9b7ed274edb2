/*
 * To be preloaded: of all that the program and its libraries ask of the C library, the allocation
 * whose number is in NOMEM_FAIL fails, and no other. With 0 none fails, and their number is the
 * last line of standard error. What the libraries do before main counts for nothing.
 */
#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>

extern void *__libc_malloc(size_t);
extern void *__libc_calloc(size_t, size_t);
extern void *__libc_realloc(void *, size_t);

static long count, fail_at = -1;

__attribute__((constructor)) static void begin(void)
{
	const char *text = getenv("NOMEM_FAIL");

	fail_at = text ? atol(text) : 0;
}

static bool fails(void)
{
	if (fail_at < 0 || ++count != fail_at)
		return false;
	errno = ENOMEM;
	return true;
}

void *malloc(size_t n)
{
	return fails() ? NULL : __libc_malloc(n);
}

void *calloc(size_t n, size_t size)
{
	return fails() ? NULL : __libc_calloc(n, size);
}

void *realloc(void *p, size_t n)
{
	return fails() ? NULL : __libc_realloc(p, n);
}

__attribute__((destructor)) static void tell(void)
{
	if (fail_at == 0)
		fprintf(stderr, "%ld\n", count);
}
