/*
 * The row grammar of pgq.logutriga once more, a byte at a time and without any trick: what
 * urlenc.c and route.c are compared with.
 */
#ifndef SLOW_H
#define SLOW_H

#include <ctype.h>

#include "fuzz.h"

static inline void slow_put(struct buf *out, int c)
{
	char byte = (char)c;

	buf_add(out, &byte, 1);
}

/* false: the raw byte at *bad begins a bad escape or means NUL. */
static inline bool slow_decode(struct buf *out, struct span raw, size_t *bad)
{
	for (size_t i = 0; i < raw.n; i++) {
		int c = (unsigned char)raw.p[i];
		*bad = i;
		if (c == '+') {
			c = ' ';
		} else if (c == '%') {
			if (raw.n - i < 3 || !isxdigit((unsigned char)raw.p[i + 1]) ||
			    !isxdigit((unsigned char)raw.p[i + 2]))
				return false;
			const char hex[] = { raw.p[i + 1], raw.p[i + 2], 0 };
			c = (int)strtol(hex, NULL, 16);
			i += 2;
		}
		if (c == 0)
			return false;
		slow_put(out, c);
	}
	return true;
}

static inline void slow_encode(struct buf *out, struct span value)
{
	for (size_t i = 0; i < value.n; i++) {
		unsigned char c = (unsigned char)value.p[i];
		if (c == ' ')
			slow_put(out, '+');
		else if (c < 0x80 && (isalnum(c) || strchr("_-.", c)))
			slow_put(out, c);
		else
			buf_fmt(out, "%%%02x", c);
	}
}

/* As urlenc_next: fields are divided by '&', the first '=' ends the name. */
static inline bool slow_next(struct span *rest, struct span *name, struct span *value)
{
	struct span field = { NULL, 0 };

	while (field.n == 0) {
		if (rest->n == 0)
			return false;
		field = fuzz_part(rest, '&');
	}
	bool has_value = memchr(field.p, '=', field.n) != NULL;
	*name = fuzz_part(&field, '=');
	*value = has_value ? field : (struct span){ NULL, 0 };
	return true;
}

#endif
