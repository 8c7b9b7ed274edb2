/*
 * The row grammar of pgq.logutriga: name=value&name&name=.
 */
#ifndef URLENC_H
#define URLENC_H

#include "base/base.h"

/* Takes the next field off *rest, still encoded; value.p is NULL where there is no '='.
 * false when the row is at its end. Empty fields are passed over. */
bool urlenc_next(struct span *rest, struct span *name, struct span *value);
/* Takes a value off *rest, which begins behind its field's '='. */
struct span urlenc_value(struct span *rest);

/* The byte that two hexadecimal digits mean; -1 when they are none. */
int urlenc_hex(const char *two);

/* Decodes raw into out, which has room for raw.n bytes. Returns the length; -1 for a bad
 * escape or %00, with its offset in raw in *bad. */
ssize_t urlenc_decode(char *out, struct span raw, size_t *bad);

/* The same, and escapes for COPY's text format; out has room for 2 * raw.n bytes. */
ssize_t urlenc_copy(char *out, struct span raw, size_t *bad);

#endif
