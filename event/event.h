/*
 * From an event's bytes to a place and to values: dates and periods, names of partitions, columns.
 * Pure: no file here keeps state of its own, waits, or knows of a server.
 */
#ifndef EVENT_H
#define EVENT_H

#include "../base/base.h"
#include "../urlenc.h"

/* ---- period.c: from a date's text to the period whose partition takes the row */

struct moment {                         /* what an ISO date's text says */
	int64_t days;                   /* since 1970-01-01 */
	int64_t second_of_day;
	int us;                         /* of the second, whose later digits are dropped */
	int offset_s;                   /* east of UTC */
	bool has_time, has_offset;
	bool carries;                   /* 24:00 or a leap second: second_of_day is one too many */
	bool exact;                     /* false: 24:00, a leap second, more than six digits of a fraction; T and Z,
					 * which a server may take for time zones */
};

/* false for what is no ISO date with a time and an offset, or without. */
bool period_moment(struct span text, struct moment *);

enum period_method { PERIOD_NONE, PERIOD_YEARLY, PERIOD_MONTHLY, PERIOD_WEEKLY, PERIOD_DAILY, PERIOD_HOURLY };

struct period_rule {
	enum period_method method;
	bool zoned;                     /* false: the date as written decides */
	int zone_s;                     /* the zone's offset in seconds east of UTC */
};

#define PERIOD_SUFFIX_MAX 16            /* bytes of "_YYYY_MM_DD_HH" and its end */
#define PERIOD_LITERAL_MAX 48

/* Value of part_timezone: text, UTC, +HH, +HH:MM. false when it is none of these. */
bool period_zone(struct period_rule *, const char *text);
/* Start of the period in seconds since 1970 of the rule's own clock. 0, or -1 with a reason
 * (a string constant) in *why for what is no ISO date or outside years 1 to 9999. */
int period_of_text(const struct period_rule *, struct span text, int64_t *start_s, const char **why);
/* The same for a moment in microseconds since 2000-01-01, the server's binary timestamp. */
int period_of_usecs(const struct period_rule *, int64_t usecs, int64_t *start_s, const char **why);
/* The same for seconds since 1970 of the rule's own clock. */
int period_of_clock(const struct period_rule *, int64_t at_s, int64_t *start_s, const char **why);

#define PERIOD_MEMO_BITS 6

/* Dates as they stood in events, still encoded, and what period_of_text made of them by one rule:
 * a day comes again and again. One of zeros is empty. */
struct period_memo {
	struct { uint64_t first, last; size_t n; int64_t start_s; } at[1 << PERIOD_MEMO_BITS];
};

/* Only of 8 to 16 bytes: what is longer has a time of day, and seldom comes again. */
void period_remember(struct period_memo *, struct span raw, int64_t start_s);
bool period_recall(const struct period_memo *, struct span raw, int64_t *start_s);

int64_t period_end(const struct period_rule *, int64_t start_s);
void period_suffix(const struct period_rule *, int64_t start_s, char out[PERIOD_SUFFIX_MAX]);
/* Date or timestamp text as SQL reads it, with the offset when the rule is zoned; no quotes. */
void period_literal(const struct period_rule *, int64_t at_s, char out[PERIOD_LITERAL_MAX]);
size_t period_suffix_len(enum period_method);
/* false for what period_suffix never gives. */
bool period_of_suffix(const struct period_rule *, struct span suffix, int64_t *start_s);

struct period_age {                     /* a length of time by the calendar: 12 months */
	enum period_method unit;        /* PERIOD_NONE: there is none */
	int64_t n;
};

/* "90 days", "1 year"; n is from 1 to 99999. false when it is something else. */
bool period_age(struct period_age *, const char *text);
/* The moment so long before at_s, both in seconds of the rule's own clock. */
int64_t period_before(struct period_age, int64_t at_s);

/* ---- sql.c: where the parts of SQL's text begin and end. limit: the end of the text */

enum sql_place { SQL_CODE, SQL_STRING, SQL_ESCAPE_STRING, SQL_OTHER_STRING, SQL_QUOTED_NAME };  /* other: B'', X'', U&'' */

bool sql_is_ident(char);                /* a character of an identifier or a number */
bool sql_is_quote(char);
const char *sql_run_end(const char *p, const char *limit);      /* of characters that sql_is_ident */
/* End of the comment at p, which nests when it is C's; p when there is none. */
const char *sql_comment_end(const char *p, const char *limit);
size_t sql_dollar_tag(const char *p, const char *limit);        /* length of the $tag$ at p, or 0 */
/* Where the quoted body ends that the tag at p begins: at the other tag, or limit. */
const char *sql_body_end(const char *p, const char *limit, size_t tag);
/* What the string is whose quote is at p; run: the run of sql_is_ident that ended last before p. */
enum sql_place sql_string_kind(const char *run, const char *p);
/* End of the escape of E'' at p, before limit - 1; *c: what it means, 0x80 for all that is not ASCII. */
const char *sql_escape(const char *p, const char *limit, char *c);
/* What stands behind the blanks and -- comments at p; NULL where no line ends among them. */
const char *sql_next_line(const char *p, const char *limit);
/* The quote that continues the string which ended before p, or NULL. Pieces between which a line ends
 * so are one string, of the first one's kind. */
const char *sql_continuation(const char *p, const char *limit);

/* ---- template.c: the words of part_template */

enum template_word { DEST_TABLE, SCHEMA_TABLE, PARENT, PKEY, PART_FIELD, PART_START, PART_END, TEMPLATE_WORDS };

struct template_words {                 /* all unquoted */
	struct span schema;             /* of dest_table, or empty */
	struct span parent;             /* dest_table without schema */
	struct span part;               /* the partition without schema */
	const struct span *pkey;        /* target names of the primary key's columns */
	size_t npkey;
	struct span part_field;         /* target name, or empty */
	struct span start, end;         /* literals' text, or empty */
};

extern const char *const template_text[TEMPLATE_WORDS];
/* The first word in p..end, or TEMPLATE_WORDS. */
enum template_word template_find(const char *p, const char *end);
/* Appends the template with its words replaced, each quoted for the place where it stands.
 * ERR_DATA when an event's part does not fit (no primary key), ERR_CONF for a name too long. */
int template_expand(struct buf *, struct span text, const struct template_words *, struct err *);

/* ---- attach.c: templates that make a table like the parent and attach it */

/* Does part_template do this and nothing else, for sure? */
bool attach_is_all(struct span template);

/* ---- nesting.c: words of part_template that cannot be quoted where they stand */

/* ERR_CONF, with the line in the text and what to do. */
int nesting_check(struct span text, struct err *);

/* ---- binary.c: values as the server's binary COPY takes them */

#define BINARY_HEADER "PGCOPY\n\377\r\n\0\0\0\0\0\0\0\0"       /* with the literal's own NUL: 19 bytes */
#define BINARY_WORD 4                   /* bytes of a value's length */

enum binary_kind {
	BINARY_NONE, BINARY_BOOL, BINARY_INT2, BINARY_INT4, BINARY_INT8, BINARY_TEXT, BINARY_DATE, BINARY_TIMESTAMP,
	BINARY_TIMESTAMPTZ, BINARY_UUID
};

/* Of pg_attribute.atttypid; BINARY_NONE for all types whose values are left to the server. */
enum binary_kind binary_kind(const char *type_oid);
/* Bytes that binary_put needs at most. */
static inline size_t binary_room(struct span raw)
{
	return BINARY_WORD + (raw.n > 16 ? raw.n : 16);
}
/* Both return the bytes that they wrote at out. binary_put's raw is encoded; -1 when the value's
 * text is for the server to judge. */
size_t binary_begin_row(char *out, size_t columns);
ssize_t binary_put(char *out, enum binary_kind, struct span raw);

/* ---- route.c: which columns a row has, and where in the event they stand */

#define COLUMNS_MAX 1600                /* columns of one row: the server's own limit */

struct field {                          /* one item of the fields list */
	struct span source, target;     /* decoded names */
};

struct shape {                          /* one column list */
	struct span *target;            /* decoded, renamed */
	size_t n;
	char *columns;                  /* quoted, comma separated: for COPY */

	/* route.c's own: */
	struct span *source;            /* all names as they stand in the event, encoded */
	size_t nsource;
	size_t *at;                     /* of each column, the index of its source; NULL: none is left out */
	size_t part_at;                 /* of the partition column's source, or nsource */
};

struct route;

/* fields: NULL for `*`; n at most COLUMNS_MAX. part_field: NULL when no column picks the partition. Names are borrowed
 * and must outlive the route. */
struct route *route_new(const struct field *fields, size_t n, const char *part_field);
void route_free(struct route *);
/* Finds the row's columns in data, which is not empty. values[i] belongs to shape->target[i],
 * encoded; *part is the partition column's encoded value: both are slices of data. *shape and
 * *values are valid until the next call. */
int route_row(struct route *, struct span data, const struct shape **, const struct span **values,
	struct span *part, struct err *);
/* With `*`: columns of these names are in no shape from now on. Shapes there were are gone, with their
 * numbers, and true is returned, unless the names are the same as before. */
bool route_leave_out(struct route *, const struct tally *names);
/* Number that names a shape for the life of the route, below 2^31. */
uint32_t route_shape_id(const struct route *, const struct shape *);
/* Target name of a source column, through the fields list. */
struct span route_target(const struct route *, struct span source);

#endif
