/*
 * The row grammar of pgq.logutriga: name=value&name&name=.
 */
#ifndef URLENC_H
#define URLENC_H

#include "base/base.h"

/* Takes the next field off *rest, still encoded; value->p is NULL if there is no '='. Empty fields
 * are skipped. false: end of the row. */
bool urlenc_next(struct span *rest, struct span *name, struct span *value);
/* Takes a value off *rest, which begins after the field's '='. */
struct span urlenc_value(struct span *rest);

/* The byte of two hexadecimal digits; -1: they are not digits. */
int urlenc_hex(const char *two);

/* Decodes raw into out, which has room for raw.n bytes. Returns the length; -1: a bad escape or
 * %00, at offset *bad of raw. */
ssize_t urlenc_decode(char *out, struct span raw, size_t *bad);

/* The same, escaped for COPY's text format; out has room for 2 * raw.n bytes. */
ssize_t urlenc_copy(char *out, struct span raw, size_t *bad);

#endif
