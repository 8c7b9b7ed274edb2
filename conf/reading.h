/*
 * What reading.c, rules.c and conf.c share while a config is read. No other file of conf/ includes
 * it.
 */
#ifndef READING_H
#define READING_H

#include "private.h"

struct reading {
	struct conf *conf;
	struct dest *dest;              /* the job's, or of the rule of `section` */
	const char *section;            /* NULL: the job's */
	bool keeps_words;               /* %(schema)s and %(table)s stay: they are the events' */
	struct values values;
	struct err *err;
	int missing;                    /* keys that must be set and are not, in err's message */
};

/* ---- reading.c */

/* The value set for the key under its name or its alias; NULL: not set. */
struct value *reading_given(const struct reading *, const struct key *);
/* Sets the error, behind where the value of the key is from. Returns its code. */
int reading_refuse(struct reading *, const char *key, const char *why);
char *reading_value(struct reading *, const struct key *, struct err *);  /* malloc'ed, or NULL */
int reading_key(struct reading *, const struct key *);  /* into the conf or `dest` */

/* ---- rules.c */

int rules_load(struct reading *);

#endif
