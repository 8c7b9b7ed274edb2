/*
 * The ini grammar of Python's configparser. Knows no keys and prints nothing.
 */
#ifndef INI_H
#define INI_H

#include "base/base.h"

struct ini_entry {
	struct span section;            /* slice of the text */
	char *key;                      /* lower case; owned by the ini */
	char *value;                    /* joined by newlines, not interpolated; owned by the ini */
	size_t line;                    /* of the key, from 1 */
	size_t semicolon_line;          /* first indented line that begins with ';', or 0 */
};

struct ini {
	struct ini_entry *entry;        /* in file order */
	size_t n, cap;
};

/* text must outlive the ini. Duplicate sections and keys are all entries; a section without keys is
 * an entry with an empty key. 0, or ERR_CONF with "line N: ..." in the error. Call ini_free after
 * an error too; a zeroed ini is fine. */
int ini_parse(struct ini *, struct span text, struct err *);
void ini_free(struct ini *);
/* 0, or ERR_CONF as ini_parse if that section or one of its keys is a duplicate; NULL: any section.
 * [DEFAULT] may be reopened, as in Python. */
int ini_check(const struct ini *, const char *section, struct err *);

/* Replaces %(name)s and %% in raw. lookup returns a name's raw value or NULL; name is lower case.
 * Returns a malloc'ed string, or NULL with the reason in err. */
typedef const char *ini_lookup(void *ctx, const char *name);
char *ini_interpolate(const char *raw, ini_lookup *lookup, void *ctx, struct err *);

#endif
