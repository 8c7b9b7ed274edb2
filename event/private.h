/*
 * What the files of this folder share; no other folder includes it.
 */
#ifndef EVENT_PRIVATE_H
#define EVENT_PRIVATE_H

#include "event.h"

/* ---- date.c */

struct moment {                         /* an ISO date, parsed */
	int64_t days;                   /* since 1970-01-01 */
	int64_t second_of_day;
	int us;                         /* of the second; further digits are dropped */
	int offset_s;                   /* east of UTC */
	bool has_time, has_offset;
	bool carries;                   /* 24:00 or a leap second: second_of_day is one too many */
	bool exact;                     /* false: 24:00, a leap second, over six digits of a
					 * fraction, or Z, which a server may take for a zone */
	bool has_t;                     /* a T before the time, which it may take for one too */
};

/* false: not an ISO date, with or without a time and an offset. */
bool date_parse(struct span text, struct moment *);
/* Parses Z, or HH, HHMM, HH:MM or HH:MM:SS after a sign, at *p, which moves behind it. */
bool date_offset(const char **p, const char *end, int *offset_s);
int64_t date_days(int64_t year, int month, int day);            /* since 1970-01-01 */
void date_of_days(int64_t days, int *year, int *month, int *day);
/* a / b, rounded down: times before 1970 are negative. */
static inline int64_t date_floor(int64_t a, int64_t b)
{
	return a / b - (a % b < 0);
}

/* ---- zone.c */

/* What the server told of that midnight; NULL: it was not asked. Valid until the next zone_ask. */
const struct zone_bound *zone_find(const struct zone *, int64_t local_s);
/* Asks for n midnights, whose local_s is set, and keeps the answers for good. */
int zone_ask(struct zone *, struct zone_bound *, size_t n, struct err *);

/* ---- period.c */

/* Is it a day that never was, between two midnights that are one moment? After local_know. */
bool period_is_empty(const struct period_rule *, int64_t start_s);

/* ---- sql.c. limit: the end of the text */

enum sql_place {
	SQL_CODE, SQL_STRING, SQL_ESCAPE_STRING,
	SQL_OTHER_STRING,               /* B'', X'', U&'' */
	SQL_QUOTED_NAME
};

/* A character of an identifier or a number. */
static inline bool sql_is_ident(char c)
{
	return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
		c == '_' || c == '$' || (c & 0x80);
}

static inline bool sql_is_quote(char c)
{
	return c == '"' || c == '\'';
}

const char *sql_run_end(const char *p, const char *limit);      /* of sql_is_ident characters */
/* End of the comment at p; C comments nest. p if there is none. */
const char *sql_comment_end(const char *p, const char *limit);
size_t sql_dollar_tag(const char *p, const char *limit);        /* length of the $tag$ at p, or 0 */
/* Kind of the string whose quote is at p. run: start of the last sql_is_ident run before p. */
enum sql_place sql_string_kind(const char *run, const char *p);
/* End of the escape at p in an E'' string, before limit - 1. *c: its character; 0x80: not ASCII. */
const char *sql_escape(const char *p, const char *limit, char *c);
/* What follows the blanks and -- comments at p; NULL if there is no line end among them. */
const char *sql_next_line(const char *p, const char *limit);
/* The quote that continues the string that ended before p, or NULL: pieces separated by a line end
 * are one string, of the first piece's kind. */
const char *sql_continuation(const char *p, const char *limit);

/* ---- template.c */

/* The first word in p..end; TEMPLATE_WORDS: none. */
enum template_word template_find(const char *p, const char *end);

/* ---- json.c */

struct json {                           /* a cursor in one object or array */
	const char *p, *end;
	const char *why;                /* after -1: what is wrong at p, a string constant */
	int depth;                      /* 1: the outermost */
	char close;                     /* the byte that ends it */
	bool first;
};

/* open: '{' or '['. 0, or -1 if the text does not begin with it. */
int json_open(struct json *, struct span text, char open);
/* Takes the next member, or an array's element with an empty name. Both are slices of the text,
 * strings with their quotes; value->p is NULL for null. 1; 0: the text ends here; -1: it is no
 * JSON. Names may come twice. */
int json_next(struct json *, struct span *name, struct span *value);
/* The value alone, where p stands before it. why is set if it is no JSON. */
struct span json_value(struct json *);

/* ---- format.c */

struct cursor {                         /* in a row */
	enum format format;
	struct span data, rest;         /* rest: of urlencoded data */
	struct json json;
};

static inline void format_begin(struct cursor *c, enum format format, struct span data)
{
	c->format = format;
	c->data = c->rest = data;
	if (format != FORMAT_URLENC)
		json_open(&c->json, data, '{');
}

bool format_next_json(struct cursor *, struct span *name, struct span *value, struct err *);

/* As urlenc_next. false: the end, or ERR_DATA. */
static inline bool format_next(struct cursor *c, struct span *name, struct span *value,
	struct err *e)
{
	if (c->format == FORMAT_URLENC)
		return urlenc_next(&c->rest, name, value);
	return format_next_json(c, name, value, e);
}

bool format_next_is_json(struct cursor *, struct span name);

/* Has the next field this name, as format_next returned it? Then it is taken, and format_value must
 * come next. false: it seems not. first: no field was taken yet. */
static inline bool format_next_is(struct cursor *c, struct span name, bool first)
{
	size_t at = !first, n = at + name.n + 1;

	if (c->format != FORMAT_URLENC)
		return format_next_is_json(c, name);
	if (c->rest.n < n || c->rest.p[n - 1] != '=' ||
	    !same_bytes(c->rest.p + at, name.p, name.n))
		return false;
	c->rest.p += n;
	c->rest.n -= n;
	return true;
}

/* What is wrong with it is format_next's to say. */
static inline struct span format_value(struct cursor *c)
{
	return c->format == FORMAT_URLENC ? urlenc_value(&c->rest) : json_value(&c->json);
}

/* ---- shape.c */

struct span shape_span(const char *p, size_t n);        /* a copy, as a shape has its names */
/* Both before shape_finish of the first, and after that of the model: has it the model's columns?
 * Then they are put in the model's order. */
bool shape_arrange(struct shape *, const struct shape *model);

/* ---- shapes.c */

#define SHAPES_MAX 4096                 /* known at a time */

struct known_shape {
	struct hash_link link;          /* by what its rows have, */
	struct hash_link same;          /* and by its columns in any order */
	struct shape *shape;
	uint32_t id;                    /* identifies the columns; below 2^31 */
	size_t bytes;
	bool used;                      /* again, since shapes were last forgotten */
};

struct shapes {                         /* zeroed before use */
	/* last added or chosen; NULL: none since shapes were forgotten */
	struct known_shape *current;

	/* private */
	struct hash shapes, same;
	size_t bytes;                   /* of all shapes */
	uint32_t next_id;
};

/* The first with that key, and the next one; NULL: there is no more. */
struct known_shape *shapes_find(const struct shapes *, uint64_t key);
struct known_shape *shapes_next(const struct known_shape *);
/* Adds and finishes the shape, takes it over, and makes it the current one; may forget others.
 * Shapes of the same columns get one id and one order of the columns: their rows wait in one
 * stream, in the order in which they come. */
void shapes_add(struct shapes *, struct shape *, uint64_t key);
void shapes_choose(struct shapes *, struct known_shape *);     /* makes it the current one */
/* Forgets and frees all; ids are not used again. */
void shapes_clear(struct shapes *);

/* ---- wanted.c */

struct wanted;

/* Those of the list, without words; behind them part_field's, if the list lacks it. The columns are
 * borrowed and must outlive it. wanted_free frees it, and takes NULL. */
struct wanted *wanted_new(const struct columns *);
void wanted_free(struct wanted *);
size_t wanted_count(const struct wanted *);
struct span wanted_source(const struct wanted *, size_t i);
/* The index of the first with that source; the count: none. */
size_t wanted_find(const struct wanted *, struct span source);
/* Reads a row: values[i], encoded, is that of source i. *complete: it lacks none; else wanted_lacks
 * tells which. ERR_DATA: a wanted column occurs twice, or it is not a row. */
int wanted_row(struct wanted *, struct cursor *, struct span *values, bool *complete,
	struct err *);
bool wanted_lacks(const struct wanted *, size_t i);
/* ERR_DATA: the event has the column twice. The name may hold anything. */
int wanted_twice(struct span name, struct err *);

/* ---- filling.c */

/* Most columns that a shape is filled with: a NULL costs little beside a COPY of few rows, but a
 * table may have a thousand columns. */
#define FILLING_MAX 64

struct filling {                        /* zeroed before use */
	struct tally columns;           /* names; rows: the last of nshape that had it, or 0 */
	size_t nhad;                    /* of how many rows is not 0 */
	int64_t nshape;                 /* how many shapes were made */
	bool on;                        /* shapes are filled now; */
	bool unfilled;                  /* some lack columns that they would have then, */
	struct tally given;             /* and some have these, which are NULL */
	bool used;                      /* a row had such a shape */
};

/* As route_fill. true: no shape that was made is of use any more. */
bool filling_set(struct filling *, const struct tally *names);
size_t filling_room(const struct filling *);    /* filling_add adds at most so many */
/* Adds the columns that other shapes had, as the NULL behind the row's n. others: some shapes are
 * known. */
void filling_add(struct filling *, struct shape *, size_t n, bool others);
void filling_clear(struct filling *);           /* frees what it holds */

#endif
