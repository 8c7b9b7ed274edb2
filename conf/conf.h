/*
 * What is asked for: the config file, the environment and the command line.
 */
#ifndef CONF_H
#define CONF_H

#include "../event/event.h"
#include "../ini.h"

/* ---- values.c: what keys were given in the file, the environment and by --set */

enum value_from { VALUE_BUILTIN, VALUE_FILE, VALUE_ENV, VALUE_SET };    /* the later counts more */

struct value {
	char *key;                      /* lower case */
	char *raw;                      /* as the file would have it, not interpolated */
	char *where;                    /* how messages about it begin */
	enum value_from from;
	bool used;                      /* found by the reader, or not to be warned of */
};

struct values {
	struct value *at;
	size_t n, cap;
	const char *file;               /* borrowed, or NULL */
};

#define VALUES_CONFIG_FILE "TDISPATCH_CONFIG_FILE"      /* names the config file itself, is no key */

/* file: NULL for none. sets: "key=value". is_key tells TDISPATCH_<KEY> from TDISPATCH_<KEY>_FILE.
 * 0 or ERR_CONF; values_free takes a half-read list too. */
int values_load(struct values *, const char *file, char *const *sets, size_t nsets, bool (*is_key)(const char *),
	struct err *);
void values_free(struct values *);
bool values_in_environment(void);               /* is there any TDISPATCH_ variable? */
struct value *values_find(const struct values *, const char *key);     /* NULL: not given */
/* How a message about the key begins, also when it was not given. */
void values_where(const struct values *, const char *key, struct buf *);

/* ---- embed.S: files that are part of the program, NUL-terminated */

extern const char conf_sample[];        /* what --ini prints */
extern const char conf_licenses[];
extern const char conf_versions[];      /* of the libraries: name, version, SHA-256 of the source */

/* ---- conf.c: which keys there are */

#define LANES_MAX 16                    /* destination connections that load one batch */
#define DEAD_MAX 100000                 /* bad events of one batch; each takes up to 1 kB of memory */

enum on_error { ON_ERROR_STOP, ON_ERROR_DEAD_LETTER, ON_ERROR_SKIP };
enum part_late { PART_LATE_CREATE, PART_LATE_SKIP, PART_LATE_ERROR };

struct conf {
	char *file;                     /* as given, or "the environment" */
	char *job_name, *pidfile, *state_file, *metrics_file, *logfile;
	int64_t log_size;               /* bytes */
	int64_t log_count;
	char *log_format;
	bool use_skylog;
	int64_t loop_delay;             /* milliseconds, as all times here */
	int64_t exception_sleep;
	int64_t connection_lifetime;
	char *queue_name, *consumer_name, *src_db, *dst_db, *dest_table;
	char *fields, *part_field, *part_method, *part_timezone, *part_template;
	char *part_keep, *part_keep_action, *part_late;
	int64_t part_premake;           /* periods */
	int64_t batch_min_events;
	int64_t lanes;
	int64_t retry_limit;
	int64_t server_timeout;
	char *on_error;
	int64_t max_errors;

	/* worked out from the above */
	struct span schema, table;      /* dest_table's parts; schema may be empty */
	struct field *field;            /* NULL for `*` */
	size_t nfield;
	struct period_rule period;
	enum on_error error;            /* on_error's meaning */
	struct period_age keep;         /* part_keep */
	bool detach;                    /* part_keep_action */
	enum part_late late;            /* part_late's meaning */
	bool log_json;                  /* log_format's */
	struct buf warnings;            /* a line each, every one ended by '\n' */
};

/* Reads and checks what values_load gives. ERR_CONF with file and line, or where else it is from. */
int conf_load(struct conf *, const char *file, char *const *sets, size_t nsets, struct err *);
/* Events and the config meet in one SQL text, which has one encoding, the source's: where that is
 * not UTF8 the config must be ASCII. 0, or ERR_SHAPE with the key. */
int conf_fits(const struct conf *, const char *encoding, struct err *);
void conf_free(struct conf *);          /* takes a zeroed or half-read conf too */
/* The effective config, secrets masked by mask, which returns a malloc'ed string. */
void conf_show(const struct conf *, struct buf *, char *(*mask)(const char *conninfo));

/* ---- switches.c: the command line */

#define SETS_MAX 64                     /* --set on one command line */

enum mode {
	RUN,                            /* none of the others was asked for */
	HELP, VERSION, SAMPLE, LICENSES, RELOAD, STOP, KILL, SHOW_CONFIG, CHECK,
	REGISTER, UNREGISTER, REWIND, RESET, INSTALL, REPLAY, DRY_RUN,
	SHOW_PARTITIONS, HEALTH, STATUS,
};

struct switches {
	enum mode mode;
	int verbosity;                  /* added to LVL_INFO */
	bool daemon, once, verify, json, progress_json;
	int64_t max_lag;                /* seconds, 0: not given */
	char *sets[SETS_MAX];           /* borrowed from argv, as is file */
	size_t nsets;
	const char *file;               /* NULL: all is in the environment */
};

extern const char switches_help[];
/* Fills a struct that is all 0. 0, or the exit code for what is wrong, which was told. */
int switches_parse(struct switches *, int argc, char **argv);

#endif
