/*
 * The growing byte buffer, quoting into it, and struct err.
 *
 * Each kind has its quoting: identifier, literal, JSON, readable text. COPY's text format is in
 * urlenc.c, which decodes and escapes in one pass.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base.h"

#ifdef TORTURE
/* For make torture: the allocation whose number is in the environment fails. */
static void *try_alloc(size_t n)
{
	static long count;
	const char *fails = getenv("TORTURE_FAIL");

	return fails && ++count == atol(fails) ? NULL : malloc(n);
}
#else
#define try_alloc malloc
#endif

static void die_of_memory(size_t n)
{
	log_error("out of memory (%zu bytes): nothing is lost, start it again", n);
	exit(1);
}

void *mem_alloc(size_t n)
{
	void *p = try_alloc(n ? n : 1);

	if (!p)
		die_of_memory(n);
	return p;
}

char *mem_str(const char *p, size_t n)
{
	char *s = mem_alloc(n + 1);

	if (n)
		memcpy(s, p, n);
	s[n] = 0;
	return s;
}

char *mem_text(const char *text)
{
	return text ? mem_str(text, strlen(text)) : NULL;
}

char *mem_lower(const char *p, size_t n)
{
	char *copy = mem_str(p, n);

	for (char *c = copy; *c; c++)
		if (*c >= 'A' && *c <= 'Z')
			*c = (char)(*c - 'A' + 'a');
	return copy;
}

void *mem_grow(void *at, size_t n, size_t *cap, size_t size)
{
	assert(n <= *cap);
	if (n < *cap)
		return at;
	size_t more = *cap ? 2 * *cap : 16;
	void *grown = mem_alloc(more * size);
	if (n)
		memcpy(grown, at, n * size);
	free(at);
	*cap = more;
	return grown;
}

void buf_free(struct buf *b)
{
	free(b->p);
	*b = (struct buf){ 0 };
}

#ifdef TORTURE
/* make torture moves a buffer at each growth, with no byte to spare; large ones get some, for
 * speed. */
static void grow(struct buf *b, size_t need)
{
	size_t cap = need < 4096 ? need : need + need / 8;
	char *p = mem_alloc(cap);

	if (b->len)
		memcpy(p, b->p, b->len);
	free(b->p);
	b->p = p;
	b->cap = cap;
}
#else
static void grow(struct buf *b, size_t need)
{
	size_t cap = b->cap ? b->cap : 64;

	while (cap < need)
		cap *= 2;
	char *p = realloc(b->p, cap);
	if (!p)
		die_of_memory(cap);
	b->p = p;
	b->cap = cap;
}
#endif

char *buf_reserve(struct buf *b, size_t n)
{
	assert(b->len <= b->cap);
	if (b->cap - b->len < n)
		grow(b, b->len + n);
	return b->p + b->len;
}

void buf_add(struct buf *b, const char *p, size_t n)
{
	if (n == 0)
		return;
	memcpy(buf_reserve(b, n), p, n);
	b->len += n;
}

void buf_str(struct buf *b, const char *s)
{
	buf_add(b, s, strlen(s));
}

void buf_fmt(struct buf *b, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	int n = vsnprintf(NULL, 0, fmt, ap);
	va_end(ap);
	if (n < 0)
		return;
	char *p = buf_reserve(b, (size_t)n + 1);
	va_start(ap, fmt);
	vsnprintf(p, (size_t)n + 1, fmt, ap);
	va_end(ap);
	b->len += (size_t)n;
}

const char *buf_cstr(struct buf *b)
{
	*buf_reserve(b, 1) = 0;
	return b->p;
}

struct span span_of(const char *s)
{
	return (struct span){ s, s ? strlen(s) : 0 };
}

bool span_eq(struct span a, struct span b)
{
	return a.n == b.n && (a.n == 0 || memcmp(a.p, b.p, a.n) == 0);
}

bool span_is(struct span a, const char *s)
{
	return a.p && span_eq(a, span_of(s));
}

uint64_t span_hash(const char *kind, struct span s)
{
	uint64_t h = UINT64_C(14695981039346656037);

	for (const char *p = kind; *p; p++)
		h = (h ^ (unsigned char)*p) * UINT64_C(1099511628211);
	h = (h ^ 0xff) * UINT64_C(1099511628211);
	for (size_t i = 0; i < s.n; i++)
		h = (h ^ (unsigned char)s.p[i]) * UINT64_C(1099511628211);
	return h;
}

/* Words that cannot name a table or column without quotes: the reserved and the
 * function-or-type keywords of PostgreSQL 10 to 18, sorted. */
static const char *const reserved[] = {
	"all", "analyse", "analyze", "and", "any", "array", "as", "asc", "asymmetric",
	"authorization", "binary", "both", "case", "cast", "check", "collate", "collation",
	"column", "concurrently", "constraint", "create", "cross", "current_catalog",
	"current_date", "current_role", "current_schema", "current_time", "current_timestamp",
	"current_user", "default", "deferrable", "desc", "distinct", "do", "else", "end", "except",
	"false", "fetch", "for", "foreign", "freeze", "from", "full", "grant", "group", "having",
	"ilike", "in", "initially", "inner", "intersect", "into", "is", "isnull", "join", "lateral",
	"leading", "left", "like", "limit", "localtime", "localtimestamp", "natural", "not",
	"notnull", "null", "offset", "on", "only", "or", "order", "outer", "overlaps", "placing",
	"primary", "references", "returning", "right", "select", "session_user", "similar", "some",
	"symmetric", "system_user", "table", "tablesample", "then", "to", "trailing", "true",
	"union", "unique", "user", "using", "variadic", "verbose", "when", "where", "window",
	"with",
};

static int compare_word(const void *key, const void *word)
{
	return strcmp(key, *(const char *const *)word);
}

static bool ident_is_plain(struct span name)
{
	char word[NAME_BYTES_MAX + 1];

	if (name.n == 0 || name.n > NAME_BYTES_MAX || (name.p[0] >= '0' && name.p[0] <= '9'))
		return false;
	for (size_t i = 0; i < name.n; i++) {
		char c = name.p[i];
		if (!((c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '_'))
			return false;
	}
	memcpy(word, name.p, name.n);
	word[name.n] = 0;
	return !bsearch(word, reserved, sizeof reserved / sizeof *reserved, sizeof *reserved,
		compare_word);
}

/* Appends value between two quotes, each byte c of it written twice. */
static void add_doubled(struct buf *b, struct span value, char quote, char c)
{
	char *out = buf_reserve(b, 2 * value.n + 2), *start = out;

	*out++ = quote;
	for (size_t i = 0; i < value.n; i++) {
		if (value.p[i] == quote || value.p[i] == c)
			*out++ = value.p[i];
		*out++ = value.p[i];
	}
	*out++ = quote;
	b->len += (size_t)(out - start);
}

void buf_ident(struct buf *b, struct span name)
{
	if (ident_is_plain(name))
		buf_add(b, name.p, name.n);
	else
		add_doubled(b, name, '"', '"');
}

void buf_qualified(struct buf *b, struct span schema, struct span name)
{
	if (schema.n) {
		buf_ident(b, schema);
		buf_add(b, ".", 1);
	}
	buf_ident(b, name);
}

void buf_literal(struct buf *b, struct span value)
{
	if (value.n && memchr(value.p, '\\', value.n))
		buf_add(b, "E", 1);
	add_doubled(b, value, '\'', '\\');
}

void buf_regclass(struct buf *b, struct span schema, struct span table)
{
	struct buf name = { 0 };

	buf_qualified(&name, schema, table);
	buf_str(b, "pg_catalog.to_regclass(");
	buf_literal(b, (struct span){ name.p, name.len });
	buf_str(b, ")::pg_catalog.oid");
	buf_free(&name);
}

void buf_json(struct buf *b, const char *text)
{
	struct span value = span_of(text);
	size_t most = TEXT_GROWTH * value.n;

	buf_str(b, "\"");
	b->len += text_json(buf_reserve(b, most), most, value);
	buf_str(b, "\"");
}

void buf_line(struct buf *b, const char *text)
{
	struct span value = span_of(text);
	size_t most = TEXT_GROWTH * value.n;

	b->len += text_line(buf_reserve(b, most), most, value);
}

void buf_printable(struct buf *b, struct span value, size_t max)
{
	for (size_t i = 0; i < value.n && i < max; i++) {
		unsigned char c = (unsigned char)value.p[i];
		if (c >= 0x20 && c < 0x7f)
			buf_add(b, value.p + i, 1);
		else
			buf_fmt(b, "\\x%02x", c);
	}
	if (value.n > max)
		buf_str(b, "...");
}

int err_set(struct err *e, int code, const char *fmt, ...)
{
	va_list ap;

	assert(code < 0);
	if (e->code)
		return e->code;
	e->code = code;
	va_start(ap, fmt);
	vsnprintf(e->msg, sizeof e->msg, fmt, ap);
	va_end(ap);
	return code;
}

void err_add(struct err *e, const char *fmt, ...)
{
	size_t n = strlen(e->msg);
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(e->msg + n, sizeof e->msg - n, fmt, ap);
	va_end(ap);
}
