/*
 * What the files of this folder share; no other folder includes it.
 */
#ifndef CONF_PRIVATE_H
#define CONF_PRIVATE_H

#include "conf.h"

/* ---- values.c */

/* a later one overrides; VALUE_DEFAULT: from section [DEFAULT] */
enum value_from { VALUE_BUILTIN, VALUE_DEFAULT, VALUE_FILE, VALUE_ENV, VALUE_SET };

struct value {
	char *key;                      /* lower case */
	char *raw;                      /* as in the file, not interpolated */
	char *where;                    /* prefix of messages about it */
	const char *section;            /* of a rule; NULL: of the job, or no section */
	enum value_from from;
	bool used;                      /* read, or otherwise no reason for a warning */
	size_t semicolon_line;          /* as in struct ini_entry */
};

struct values {
	struct value *at;
	size_t n, cap;
	char **section;                 /* those of source tables, in the order of the file */
	size_t nsection, section_cap;
	const char *file;               /* borrowed, or NULL */
	bool old;                       /* the file's section is [table_dispatcher] */
	char *job_name;                 /* default of that key; NULL without a file */
	char *base_name;                /* file name without extension; both are raw values */
};

#define VALUES_TYPE_SECTION "type "                     /* before a pattern of ev_types */
#define VALUES_CONFIG_FILE "TDISPATCH_CONFIG_FILE"      /* names the config file; not a key */

/* file: NULL for none. sets: "key=value". is_key distinguishes TDISPATCH_<KEY> from
 * TDISPATCH_<KEY>_FILE. 0 or ERR_CONF; call values_free after an error too. */
int values_load(struct values *, const char *file, char *const *sets, size_t nsets,
	bool (*is_key)(const char *), struct err *);
void values_free(struct values *);
bool values_in_environment(void);               /* has any TDISPATCH_ variable a value? */
struct value *values_find(const struct values *, const char *key);     /* NULL: not set */
/* The key's value in that one of v->section; NULL: not set there. Key "": the section itself. */
struct value *values_find_in(const struct values *, const char *section, const char *key);
/* Appends the prefix of a message about the key, which need not be set. */
void values_where(const struct values *, const char *key, struct buf *);
/* Appends the key's variable of the environment. */
void values_variable(const char *key, struct buf *);

/* ---- dest.c */

/* Derives the other members from the keys. NULL, or the name of the invalid key with the reason in
 * err. */
const char *dest_complete(struct dest *, struct err *);

/* ---- key.c */

enum key_type {
	KEY_STRING, KEY_PATH, KEY_CONNINFO,
	KEY_INT,                            /* int64_t from min to max */
	KEY_WORD,                           /* an enum; its value min is the first of words */
	KEY_SECONDS                         /* int64_t milliseconds */
};

struct key {
	const char *name, *alias;
	enum key_type type;
	size_t at;                      /* offset in struct conf */
	const char *def;                /* NULL: unset */
	bool required;
	int64_t min, max;
	const char *words;              /* separated by blanks */
};

extern const struct key key_table[];    /* in the order of the manual */
extern const size_t key_count;

const struct key *key_find(const char *name);   /* by its name or its alias; NULL: unknown */
/* The name or alias that a misspelt one was probably meant to be; NULL: none. */
const char *key_like(const char *name);
/* Starts a search for the most similar of some names: the least difference that is none. */
size_t key_unlike(const char *name);
/* Takes over a name that is more similar; NULL: none. */
void key_compare(const char *name, const char *known, size_t *best, const char **like);
bool key_is_of_dest(const struct key *);        /* may it stand in a rule's section? */
/* In all three, dest holds the destination's keys: conf's own or a rule's. */
/* The member that holds the key's text; NULL if the key's type is not text. */
char **key_text(const struct key *, const struct conf *, const struct dest *);
/* Parses value, a malloc'ed string that the conf takes over or that is freed, and stores it. 0, or
 * ERR_CONF with the reason, without the key. */
int key_store(const struct key *, struct conf *, struct dest *, char *value, struct err *);
/* Appends the value, which must be set, and a newline. mask: see conf_show. */
void key_show(const struct key *, const struct conf *, const struct dest *, struct buf *,
	char *(*mask)(const char *conninfo));

#endif
