/*
 * What the user asks for: config file, environment and command line.
 */
#ifndef CONF_H
#define CONF_H

#include "../event/event.h"
#include "../ini.h"

/* ---- values.c: raw values of keys, from the file, the environment and --set */

#define VALUES_OLD_SECTION "table_dispatcher"           /* also job_name's default there */

/* ---- embed.S: files embedded in the program, NUL-terminated */

extern const char conf_sample[];        /* what --ini prints */
extern const char conf_licenses[];
extern const char conf_versions[];      /* of the libraries: name, version, SHA-256 of the source */

/* ---- dest.c: a destination: where rows go and how */

enum part_by {                          /* what part_field names */
	PART_BY_NOTHING, PART_BY_COLUMN,
	PART_BY_EVTIME, PART_BY_BATCHTIME       /* the event's time, and its batch's tick's */
};
enum row_mode {                         /* what becomes of an event */
	ROWS_LOG,                       /* a row, whatever its op */
	ROWS_KEEP_ALL,                  /* a row, unless it is a delete */
	ROWS_KEEP_LATEST                /* a key's last event is its row, or that it has none */
};
enum on_truncate { ON_TRUNCATE_ERROR, ON_TRUNCATE_SKIP };
enum keep_action { KEEP_DROP, KEEP_DETACH };
enum part_late { PART_LATE_CREATE, PART_LATE_SKIP, PART_LATE_ERROR };

struct dest {                           /* members are named as keys; a string not set is NULL */
	char *dest_table, *fields, *skip_fields, *event_types;
	enum on_missing on_missing;
	enum row_mode row_mode;
	char *row_key;
	enum on_truncate on_truncate;   /* of a row_mode that keeps */
	char *part_field, *part_method, *part_timezone, *part_template, *part_keep;
	enum keep_action part_keep_action;
	enum part_late part_late;
	int64_t part_premake;           /* periods */
	int64_t part_list_max;          /* new partitions in a batch */

	/* derived by dest_complete */
	struct span schema, table;      /* dest_table's parts; schema may be empty */
	struct field *field;            /* the items of fields but `*`, or NULL */
	size_t nfield, nword;           /* all; how many of them, at the end, are words */
	bool all;                       /* fields has `*` */
	enum part_by part_by;
	/* PERIOD_NONE with PART_BY_NOTHING; its zone and list are the conf's */
	struct period_rule period;
	struct period_age keep;         /* part_keep */
};

/* Which columns its rows have; borrows from it. */
struct columns dest_columns(const struct dest *);
/* Target name of the column whose value picks the partition; the NULL span if there is none. */
struct span dest_part_target(const struct dest *);
/* Is the event's column among those that are written, as far as the config tells? */
bool dest_writes(const struct dest *, struct span source);
/* Source name of the column that picks the partition; the NULL span if none does. */
struct span dest_part_column(const struct dest *);

/* ---- key.c: the keys */

#define LANES_MAX 16                    /* connections to the target that load one batch */
#define DEAD_MAX 100000                 /* dead letters of one batch: memory, 16 bytes each */

enum event_format { EVENT_AUTO, EVENT_URLENC, EVENT_JSON };
enum log_format { LOG_TEXT, LOG_JSON };
enum queue_schema { QUEUE_SCHEMA_AUTO, QUEUE_SCHEMA_PGQ, QUEUE_SCHEMA_PGQUE };
enum from_snapshot { FROM_SNAPSHOT_TABLE, FROM_SNAPSHOT_SLICE };
enum on_error { ON_ERROR_STOP, ON_ERROR_DEAD_LETTER, ON_ERROR_SKIP };

struct rule {                           /* what becomes of the events of some source tables */
	char *section;                  /* as in the file, without its brackets */
	struct span pattern;            /* of schema.table, or of ev_type: part of section */
	bool by_type;                   /* for events that name no table */
	bool ignore;                    /* they are passed over; the rest is unset */
	bool by_name;                   /* dest_table has %(schema)s or %(table)s: see rule_dest */
	struct dest dest;
};

struct conf {                           /* the job's keys, and its destination's */
	char *file;                     /* as given, or "the environment" */
	char *job_name, *pidfile, *state_file, *metrics_file, *metrics_listen;
	char *logfile;
	int64_t log_size;               /* bytes */
	int64_t log_count;
	enum log_format log_format;
	int64_t log_interval;           /* milliseconds, as all times here; 0: a line a batch */
	char *use_skylog;               /* ignored */
	int64_t loop_delay;
	int64_t exception_sleep;
	int64_t connection_lifetime;
	char *queue_name;               /* "": not set, which from_table allows */
	char *consumer_name, *src_db, *dst_db;
	char *from_table, *from_where, *from_key;       /* NULL: not set */
	int64_t from_slice;             /* bytes */
	enum from_snapshot from_snapshot;
	struct dest dest;               /* with rules, only what these lack is from here */
	struct rule *rule;              /* in the order of the file */
	size_t nrule;
	enum queue_schema queue_schema;
	int64_t ticker;                 /* 1: make the queue's ticks */
	int64_t ticker_period;
	char *tables;                   /* NULL: all */
	enum event_format event_format;
	unsigned event_order;           /* 1: by ev_id */
	int64_t batch_min_events;
	int64_t lanes;
	enum on_error on_error;
	int64_t max_errors;
	int64_t retry_limit;
	int64_t server_timeout;

	/* What job_name and consumer_name would be if named after the file, for section
	 * [table_dispatcher] without these keys; base_consumer is NULL if it would be the same. */
	char *base_name, *base_consumer;
	struct buf warnings;            /* one per line, each ending with '\n' */

	/* What the process comes to know, for all destinations: the zone that part_timezone names,
	 * whose name is NULL if it names none, and the values of lists. */
	struct zone *zone;
	struct list *list;
};

/* ---- rule.c: which destination the events of a source table have */

/* The rule for events of the table, "schema.table"; with a NULL table, for those of the type. NULL:
 * none matches. */
const struct rule *rule_find(const struct conf *, struct span table, struct span type);
/* The rule's destination for one source table, whose names fill in %(schema)s and %(table)s.
 * *dest is the caller's, rule_dest_free frees it, after an error too. 0, or ERR_DATA: there is no
 * destination of that name. */
int rule_dest(const struct rule *, struct span table, struct dest *, struct err *);
void rule_dest_free(struct dest *);

/* ---- reading.c: reading one key, in reading.h */
/* ---- rules.c: reading the sections of source tables, in reading.h */

/* ---- conf.c: the config as a whole */

/* Reads and checks the config. 0, or ERR_CONF with file and line, or whatever else the value is
 * from; call conf_free after an error too. */
int conf_load(struct conf *, const char *file, char *const *sets, size_t nsets, struct err *);
/* SQL text combines events with the config, and its encoding is the source's: unless that is UTF8,
 * the config must be ASCII. 0, or ERR_SHAPE with the key. */
int conf_fits(const struct conf *, const char *encoding, struct err *);
/* The i-th destination that the config describes, NULL after the last: the job's own, or instead of
 * it those of the rules that do not ignore. Of a rule by_name, nothing is derived that depends on
 * names. */
const struct dest *conf_dest(const struct conf *, size_t i);
bool conf_keeps(const struct conf *);           /* has any of them part_keep? */
bool conf_filters(const struct conf *);         /* may events be left out? */
void conf_free(struct conf *);          /* takes a zeroed or half-read conf too */
/* Appends the effective config. mask hides a connection string's secrets and returns a malloc'ed
 * string. */
void conf_show(const struct conf *, struct buf *, char *(*mask)(const char *conninfo));

/* ---- switches.c: the command line */

#define SETS_MAX 64                     /* --set on one command line */

struct app;                             /* defined by the caller of switches_parse, */
struct job;                             /* which passes them to the functions of its modes */
struct mode;

struct switches {
	const struct mode *mode;
	int verbosity;                  /* added to LVL_INFO */
	bool daemon, once, tick, verify, json, progress_json, watch, yes;
	int64_t max_lag, max_stall;     /* seconds, 0: not given */
	const char *grant;              /* a role; NULL: not given */
	char *from;                     /* "from_table=" and its value, one of sets; or NULL */
	char *sets[SETS_MAX];           /* borrowed from argv, as is file */
	size_t nsets;
	const char *file;               /* NULL: the config is the environment */
};

enum mode_traits {
	MODE_NO_CONFIG = 1 << 0,        /* needs no config */
	MODE_NO_SERVERS = 1 << 1,       /* does not check src_db and dst_db */
	MODE_PIDFILE = 1 << 2,          /* addresses the running process by its pidfile */
	MODE_STATE_FILE = 1 << 3,       /* addresses it by its state_file */
	MODE_LENIENT = 1 << 4,          /* works with an invalid config if that names the file */
	MODE_LOG = 1 << 5,              /* its log lines are in the config's format */
	MODE_JSON = 1 << 6,             /* takes --json and --watch */
	MODE_MAX_LAG = 1 << 7,          /* takes --max-lag and --max-stall */
	MODE_YES = 1 << 8,              /* takes --yes */
	MODE_GRANT = 1 << 9,            /* takes --grant */
	MODE_TICK = 1 << 10,            /* --tick; with --once the run does it */
	MODE_QUEUE = 1 << 11            /* needs queue_name, with from_table too */
};

struct mode {                           /* what a switch does */
	const char *name;               /* of the switch, without --; or NULL */
	char letter;                    /* or 0 */
	unsigned traits;
	int (*run)(struct app *);       /* returns the exit code */
	int (*action)(struct job *, struct err *);      /* used by run, as is signal */
	int signal;
};

extern const char switches_help[];
/* Fills a zeroed struct. modes[0] is the mode without a switch. 0, or the exit code after printing
 * what is wrong. */
int switches_parse(struct switches *, const struct mode *modes, size_t nmodes, int argc,
	char **argv);

#endif
