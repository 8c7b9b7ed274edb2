/*
 * The ini grammar of Python's configparser; knows no key, prints nothing.
 */
#ifndef INI_H
#define INI_H

#include "base/base.h"

struct ini_entry {
	struct span section;            /* into the text given */
	char *key;                      /* lower case; owned by the ini */
	char *value;                    /* lines joined by '\n', not interpolated; owned by the ini */
	size_t line;                    /* of the key, from 1 */
	size_t semicolon_line;          /* in the value, first that is indented and begins with ';'; or 0 */
};

struct ini {
	struct ini_entry *entry;        /* in the order of the file */
	size_t n, cap;
};

/* text must outlive the ini, which may have sections and keys twice. 0, or ERR_CONF with
 * "line N: ..." in the error. A section that holds no key is an entry with an empty key. ini_free
 * takes a zeroed or half-read ini too. */
int ini_parse(struct ini *, struct span text, struct err *);
void ini_free(struct ini *);
/* ERR_CONF, as ini_parse, when that section or one of its keys is there twice; NULL: any section.
 * [DEFAULT] may be opened again, as in Python. */
int ini_check(const struct ini *, const char *section, struct err *);

/* Replaces %(name)s and %% in raw. lookup gives a name's raw value or NULL; name is lower case.
 * Returns a malloc'ed string, or NULL with the reason set. */
typedef const char *ini_lookup(void *ctx, const char *name);
char *ini_interpolate(const char *raw, ini_lookup *lookup, void *ctx, struct err *);

#endif
