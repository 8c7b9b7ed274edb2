/*
 * From an event's bytes to its partition and values: dates and periods, partition names, columns.
 * Pure: no file here has global state, blocks, or knows of a server.
 */
#ifndef EVENT_H
#define EVENT_H

#include "../base/base.h"
#include "../urlenc.h"

/* ---- an event, as PgQ has it */

/* What may be read of an event besides id, type and data; only what is asked for is set. */
enum event_part {
	EVENT_TABLE = 1 << 0,           /* ev_extra1 */
	EVENT_TXID = 1 << 1,
	EVENT_TIME = 1 << 2,
	EVENT_TICK = 1 << 3,
	EVENT_BATCH_TIME = 1 << 4,      /* the time of the batch's tick */
	EVENT_LOCAL_TIME = 1 << 5,      /* local_time is of EVENT_TIME */
	EVENT_LOCAL_BATCH_TIME = 1 << 6,        /* or of EVENT_BATCH_TIME */
	EVENT_OLD = 1 << 7              /* ev_extra2 */
};

struct event {                          /* spans are valid until the next event is read */
	int64_t id, txid, tick;
	struct span type, data, table;
	struct span old;                /* the row before an update, where the trigger tells it */
	struct span op;                 /* what type says, by type_op; not read */
	int64_t time, batch_time;       /* in microseconds since 2000-01-01, UTC */
	int64_t local_time;             /* the same by the source session's zone */
	unsigned lacks;                 /* parts that are NULL: only a dead letter's */
};

/* ---- date.c: ISO dates, and the calendar, in private.h */

#define DAY_S 86400
#define HOUR_S 3600

/* ---- zone.c: the midnights of a named time zone, as the target's server tells them */

struct zone_bound {                     /* a midnight at which a period may begin */
	int64_t local_s;                /* by the zone's clock, in seconds since 1970 */
	int64_t at_s;                   /* the same moment in UTC */
	/* Where clocks were put forward from a time before it to that midnight or a later time: */
	int64_t gap_local_s;            /* the first local time that there never was, */
	int64_t gap_s;                  /* and by how much they were; 0: they were not */
};

#define ZONE_MEMO_BITS 8

struct zone {                           /* zeroed but name and ask; zone_clear frees the rest */
	const char *name;
	bool known;                     /* the server knows it: set by whoever asks */
	/* Asks the server for n midnights, whose local_s is set: sets the rest. */
	int (*ask)(void *arg, struct zone_bound *, size_t n, struct err *);
	void *arg;

	/* private to zone.c: */
	struct zone_bound *bound;       /* by local_s, and so by at_s */
	size_t n, cap;
	/* private to local.c: */
	struct local_memo {             /* a period that was found */
		int64_t start_s, end_s;         /* by the zone's clock, */
		int64_t from_s, to_s;           /* and as moments; equal: no entry */
		int method;
		bool plain;                     /* the date of a time tells that it is this one */
	} memo[1 << ZONE_MEMO_BITS];            /* by the day of what was looked for */
	int64_t offset_s;                       /* of the last one */
};

/* Moves what is known of the old zone, if that has the same name. */
void zone_take(struct zone *, struct zone *old);
void zone_clear(struct zone *);

/* ---- list.c: the values by which part_method = list cuts */

#define LIST_VALUE_MAX 30               /* bytes */

struct list {                           /* values, each with a number; zeroed: empty */
	char (*value)[LIST_VALUE_MAX + 1];
	size_t n, cap;
	uint32_t *slot;                 /* by hash: a value's number and 1; 0: none */
	size_t nslot;                   /* a power of two, or 0 */
};

/* Can a partition be named by it? 1 to LIST_VALUE_MAX of ASCII letters, digits and _. */
bool list_takes(struct span value);
/* The number of a value that list_takes, from 0; the same for as long as the list lives. */
int64_t list_number(struct list *, struct span value);
void list_clear(struct list *);

/* ---- period.c: from a date to the period, whose partition takes the row */

/* Not only a date's: a period is what one partition takes, identified by start_s. By PERIOD_LIST it
 * is a value, by its number in the list; by PERIOD_NUMBER a range, by its first number. */
enum period_method {
	PERIOD_NONE, PERIOD_YEARLY, PERIOD_MONTHLY, PERIOD_WEEKLY, PERIOD_DAILY, PERIOD_HOURLY,
	PERIOD_LIST, PERIOD_NUMBER
};

struct period_rule {
	enum period_method method;
	bool zoned;                     /* false: the date as written decides */
	int zone_s;                     /* the zone's offset in seconds east of UTC */
	bool named;                     /* by its name: of these zone_s is 0, */
	struct zone *zone;              /* and this is not NULL once the config is read */
	struct list *list;              /* of PERIOD_LIST */
	int64_t step;                   /* of PERIOD_NUMBER: how many numbers a range has */
};

static inline bool period_is_dated(const struct period_rule *rule)
{
	return rule->method >= PERIOD_YEARLY && rule->method <= PERIOD_HOURLY;
}

static inline bool period_same_zone(const struct period_rule *a, const struct period_rule *b)
{
	return a->zoned == b->zoned && a->zone_s == b->zone_s && a->named == b->named;
}

#define PERIOD_SUFFIX_MAX 32            /* bytes of "_", the longest value of a list and a NUL */
#define PERIOD_LITERAL_MAX 48

/* Parses part_method: a word, or "number N". false: none of these. */
bool period_method(struct period_rule *, const char *text);
/* Parses part_timezone: text, UTC, +HH, +HH:MM, or what may be the name of a zone. false: none of
 * these. */
bool period_zone(struct period_rule *, const char *text);
/* Finds the start of the period, in seconds since 1970 by the rule's own clock. 0, or -1 with the
 * reason (a string constant) in *why: not an ISO date, or not in the years 1 to 9999. Dates in a
 * named zone: local.c. */
int period_of_text(const struct period_rule *, struct span text, int64_t *start_s,
	const char **why);
/* The same for a moment in microseconds since 2000-01-01, the server's binary timestamp. */
int period_of_usecs(const struct period_rule *, int64_t usecs, int64_t *start_s, const char **why);
/* The same for seconds since 1970 of the rule's own clock. */
int period_of_clock(const struct period_rule *, int64_t at_s, int64_t *start_s, const char **why);

#define PERIOD_MEMO_BITS 6

/* A cache from values as they stand in events, still encoded, to what was found for them by one
 * rule: days recur. A zeroed memo is empty. */
struct period_memo {
	struct { uint64_t first, last; size_t n; int64_t start_s; } at[1 << PERIOD_MEMO_BITS];
};

/* Stores only texts of 8 to 16 bytes: longer dates have a time of day and seldom recur. */
void period_remember(struct period_memo *, struct span raw, int64_t start_s);
/* false: not stored. */
bool period_recall(const struct period_memo *, struct span raw, int64_t *start_s);

/* Start of the next one. Days that never were are passed over, where local_know was called. */
int64_t period_end(const struct period_rule *, int64_t start_s);
/* What the name of the period's partition ends with, and a NUL. */
void period_suffix(const struct period_rule *, int64_t start_s, char out[PERIOD_SUFFIX_MAX]);
/* Date or timestamp text for SQL, with the offset if the rule is zoned (and, in a named zone, if
 * local_know was called); a number; or a list's value. No quotes. */
void period_literal(const struct period_rule *, int64_t at_s, char out[PERIOD_LITERAL_MAX]);
/* The least and the most bytes of a suffix. */
size_t period_suffix_min(enum period_method);
size_t period_suffix_len(enum period_method);
/* A regular expression that all suffixes match, and little else that is so long. */
const char *period_pattern(enum period_method);
/* The inverse of period_suffix. false: no period has this suffix. */
bool period_of_suffix(const struct period_rule *, struct span suffix, int64_t *start_s);

struct period_age {                     /* a calendar interval: 12 months */
	enum period_method unit;        /* PERIOD_NONE: not set */
	int64_t n;
};

/* Parses "90 days", "1 year"; n is from 1 to 99999. false: anything else. */
bool period_age(struct period_age *, const char *text);
/* at_s minus the age, both in seconds by the rule's own clock. */
int64_t period_before(struct period_age, int64_t at_s);

/* ---- local.c: periods in a named zone */

/* As period_of_text and period_of_usecs. -1 with *why NULL: the server could not be asked, which is
 * err's. Asks at most once for a period that was not met before. */
int local_of_text(const struct period_rule *, struct span text, int64_t *start_s, const char **why,
	struct err *);
int local_of_usecs(const struct period_rule *, int64_t usecs, int64_t *start_s, const char **why,
	struct err *);
/* Makes the bounds of the period and the next one known. Without a named zone a no-op. */
int local_know(const struct period_rule *, int64_t start_s, struct err *);

/* ---- number.c: ranges of numbers */

/* The first number of the range that the integer's text lies in. As period_of_text; a range beyond
 * bigint is refused too. */
int number_of_text(const struct period_rule *, struct span text, int64_t *start, const char **why);
/* Is there a range behind that one? */
bool number_has_next(const struct period_rule *, int64_t start);

/* ---- sql.c: where the tokens of SQL text begin and end, in private.h */

/* ---- template.c: the words of part_template */

enum template_word {
	DEST_TABLE, SCHEMA_TABLE, PARENT, PKEY, PART_FIELD, PART_START, PART_END, PART_VALUE,
	TEMPLATE_WORDS
};

struct template_words {                 /* all unquoted */
	struct span schema;             /* of dest_table, or empty */
	struct span parent;             /* dest_table without schema */
	struct span part;               /* the partition without schema */
	const struct span *pkey;        /* target names of the primary key's columns */
	size_t npkey;
	struct span part_field;         /* target name, or empty */
	struct span start, end;         /* text of the literals, or empty; */
	bool numbers;                   /* they are numbers */
	struct span value;              /* the same of a list's value */
};

extern const char *const template_text[TEMPLATE_WORDS];
/* Appends the template with its words replaced, each quoted for its context. ERR_DATA: the event
 * lacks what a word needs (a primary key). ERR_CONF: a name would be too long. */
int template_expand(struct buf *, struct span text, const struct template_words *, struct err *);

/* ---- attach.c: templates that make a table and attach it, or that inherits, and do no more */

struct attach_split {                   /* of a template, in bytes from its beginning */
	size_t tail;                    /* where the statements begin that make indexes, */
	size_t attach;                  /* and where ATTACH does: both may follow the rows */
	bool mixed;                     /* they may not, and both numbers are the length */
	bool inherits;                  /* there is no ATTACH, but: */
	size_t parent, parent_end;      /* where the table is named that it inherits from */
	size_t like;                    /* LIKE copies indexes: what it excludes may be added here.
	                                 * 0: it does not */
};

/* true: part_template certainly does this and nothing else. If not, it is mixed. */
bool attach_is_all(struct span template, struct attach_split *);

/* ---- nesting.c: words of part_template that cannot be quoted where they stand */

/* 0, or ERR_CONF with the line in the text and what to do. */
int nesting_check(struct span text, struct err *);

/* ---- json.c: the row grammar of JSON events, RFC 8259; its cursor in private.h */

enum { JSON_COPY = 1, JSON_ASCII = 2 };
/* Decodes a string into its characters, in UTF-8; any other value is its own text. out has room for
 * raw.n bytes, or with JSON_COPY, escaped for COPY's text format, for 2 * raw.n. Returns the
 * length; -1: at offset *bad of raw stands \u0000 or half a surrogate pair, or with JSON_ASCII a
 * \u that is not ASCII. */
ssize_t json_decode(char *out, struct span raw, int flags, size_t *bad);

/* ---- format.c: the formats of rows; their cursor in private.h */

enum format {
	FORMAT_URLENC,                  /* pgq.logutriga's, urlenc.c */
	FORMAT_JSON,
	FORMAT_JSON_ASCII,              /* the same of a source that is not in UTF8 */
	FORMAT_LINE                     /* a line of COPY text, with its end */
};

static inline int format_flags(enum format format)
{
	return format == FORMAT_JSON_ASCII ? JSON_ASCII : 0;
}

/* Decode a value, format_copy for COPY's text format: as urlenc_decode and urlenc_copy. A value of
 * a line is not decoded. */
static inline ssize_t format_decode(char *out, enum format format, struct span raw, size_t *bad)
{
	if (format == FORMAT_LINE) {
		__builtin_memcpy(out, raw.p, raw.n);
		return (ssize_t)raw.n;
	}
	return format == FORMAT_URLENC ? urlenc_decode(out, raw, bad) :
		json_decode(out, raw, format_flags(format), bad);
}

static inline ssize_t format_copy(char *out, enum format format, struct span raw, size_t *bad)
{
	return format == FORMAT_URLENC ? urlenc_copy(out, raw, bad) :
		json_decode(out, raw, JSON_COPY | format_flags(format), bad);
}

/* ERR_DATA: what stands at offset bad of raw, a slice of ev_data. column: whose value it is, or
 * NULL. */
int format_refuse(enum format, struct span data, struct span raw, size_t bad,
	const struct span *column, struct err *);

/* ---- type.c: what ev_type says */

bool type_is_json(struct span type);            /* does it come from pgq.jsontriga? */
/* I, U, D, R, or an application's. payload: ev_data is JSON. The NULL span: the type is JSON and
 * says none of these. */
struct span type_op(struct span type, bool payload);

#define TYPE_MEMO_BYTES 232

/* A cache of what type_op returned for types that are JSON: they recur. A zeroed memo is empty. */
struct type_memo {
	struct { size_t n; struct span op; char text[TYPE_MEMO_BYTES]; } at[64];
	size_t last;
};

struct span type_recall(struct type_memo *, struct span type);  /* type_op of a type that is JSON */
/* Splits the primary key's columns, at most max; returns their number. text holds them where they
 * have to be decoded; it must be empty. */
size_t type_pkey(struct span type, struct buf *text, struct span *names, size_t max);

/* ---- filter.c: the config's lists of names, separated by commas */

/* Takes the next item off *list, without blanks around it. false: there is none, or *list is
 * NULL. */
bool filter_next(const char **list, struct span *item);
bool filter_has(const char *list, struct span name);    /* is it an item? */
bool filter_is_list(const char *list);                  /* is no item empty? */
struct span filter_schema(struct span table);           /* what a name without a dot lacks, or "" */

/* ---- binary.c: values in the format of binary COPY */

#define BINARY_HEADER "PGCOPY\n\377\r\n\0\0\0\0\0\0\0\0"       /* 19 bytes with its own NUL */
#define BINARY_WORD 4                   /* bytes of the length before a value */

enum binary_kind {
	BINARY_NONE, BINARY_BOOL, BINARY_INT2, BINARY_INT4, BINARY_INT8, BINARY_TEXT, BINARY_DATE,
	BINARY_TIMESTAMP, BINARY_TIMESTAMPTZ, BINARY_UUID, BINARY_NUMERIC, BINARY_FLOAT4,
	BINARY_FLOAT8, BINARY_JSONB, BINARY_BYTEA
};

/* From pg_type.oid. BINARY_NONE: values of this type go as text. */
enum binary_kind binary_kind(const char *type_oid);
/* The most bytes that binary_put writes. */
static inline size_t binary_room(struct span raw)
{
	return BINARY_WORD + 16 + raw.n;
}
/* Both return the number of bytes written at out. raw is encoded; -1: send the row as text, so that
 * the server judges the value. */
size_t binary_begin_row(char *out, size_t columns);
ssize_t binary_put(char *out, enum binary_kind, enum format, struct span raw);

/* ---- told.c: what an event tells of itself, in columns of its row */

enum told {
	TOLD_NOTHING, TOLD_OP, TOLD_EVTYPE, TOLD_EVID, TOLD_EVTIME, TOLD_TXID, TOLD_TABLE,
	TOLD_TICK, TOLD_BATCHTIME
};

enum told told_word(struct span name);          /* TOLD_NOTHING: none of the words */
unsigned told_part(enum told);                  /* what must be read for it: enum event_part */
/* The most bytes that either of these writes. */
size_t told_room(const struct event *, enum told);
size_t told_copy(char *out, const struct event *, enum told);   /* for COPY's text format */
/* A number's text, of at most 20 bytes; and in binary as 4 or 8 of them, after their length. */
size_t told_number(char *out, int64_t n);
size_t told_binary_number(char *out, int64_t n, size_t bytes);
/* As binary_put. */
ssize_t told_binary(char *out, enum binary_kind, const struct event *, enum told);

/* ---- shape.c: a list of columns, and where their values stand in the event */

#define COLUMNS_MAX 1600                /* per row: PostgreSQL's own limit */

struct field {                          /* one item of the `fields` list */
	struct span source, target;     /* decoded names */
	enum told told;                 /* the word that source is, or TOLD_NOTHING */
};

enum on_missing { ON_MISSING_ERROR, ON_MISSING_NULL, ON_MISSING_DEFAULT };

struct columns {                        /* which columns a row has */
	const struct field *field;      /* words behind all others */
	size_t n, nword;                /* n: at most COLUMNS_MAX, words included */
	bool all;                       /* `*`: the event's other columns too */
	enum on_missing on_missing;     /* where an event lacks a column of field */
	const char *skip;               /* a list of source names to leave out, or NULL */
	const char *part_field;         /* the column that picks the partition, or NULL */
};

struct shape {                          /* one column list */
	struct span *target;            /* decoded, renamed */
	size_t n;
	size_t nword;                   /* how many of them, at the end, are words, */
	const struct field *word;       /* and which */
	char *columns;                  /* quoted, comma separated: for COPY */

	/* shape.c's, shapes.c's, filling.c's and route.c's own: */
	struct span *source;            /* all names as they stand in the event, encoded */
	size_t nsource;
	bool json;
	size_t *at;                     /* each column's index in source; NULL: the same */
	size_t part_at;                 /* of the partition column's source, or nsource */
	bool *missing;                  /* of a list: columns that the events lack; NULL: none */
	bool filled;                    /* has columns by filling_add */
};

/* Of nsource columns of an event, for at most n of the target besides words. shape_free frees it,
 * and takes NULL. */
struct shape *shape_new(size_t nsource, size_t n, size_t nword, const struct field *word);
void shape_free(struct shape *);
/* Adds a column whose value is that of source `at`. */
void shape_add(struct shape *, struct span target, size_t at);
/* The index of the first column of that name from `from` on, before n; -1: there is none. */
ssize_t shape_find(const struct shape *, struct span target, size_t from, size_t n);
void shape_finish(struct shape *);              /* all columns are there: adds words, columns */

/* ---- shapes.c: the shapes that a route knows, in private.h */
/* ---- wanted.c: the columns that a list names, found in an event, in private.h */
/* ---- filling.c: columns that other rows have, in shapes of rows that lack them, in private.h */

/* ---- route.c: a row's columns, found in the event */

struct route;

/* Names are borrowed and must outlive the route. route_free frees it. */
struct route *route_new(const struct columns *);
void route_free(struct route *);
/* Finds the row's columns in data, which is not empty. values[i] belongs to shape->target[i], but
 * words, which stand last, have none; *part is the partition column's value. Both are encoded
 * slices of data. *shape and *values are valid until the next call. ERR_DATA: a wanted column is
 * missing or occurs twice, or data is not a row. */
int route_row(struct route *, enum format, struct span data, const struct shape **,
	const struct span **values, struct span *part, struct err *);
/* With `*`: from now on no shape has columns of these names. Returns true when that drops all
 * shapes, and their numbers with them; false when the names are the same as before. */
bool route_leave_out(struct route *, const struct tally *names);
/* With `*`: from now on a shape that lacks some of these columns, which others have had, has them
 * too, as NULL: so rows of different columns share a shape. names: NULL for no longer. Called
 * before a pass, so that a row's columns have one shape in it. Returns true when that drops all
 * shapes, as route_leave_out does. */
bool route_fill(struct route *, const struct tally *names);
/* If rows had shapes with such columns since that call: adds these, and perhaps others of them. */
void route_filled(const struct route *, struct tally *columns);
size_t route_shapes(const struct route *);      /* how many are known */
/* A number below 2^31 that identifies the columns, in their order, as long as the route lives. */
uint32_t route_shape_id(const struct route *, const struct shape *);
/* Target name of a source column, by the `fields` list. */
struct span route_target(const struct route *, struct span source);

#endif
