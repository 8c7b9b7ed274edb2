/*
 * Fuzzes the words of part_template: no name can change the structure of the SQL around it, nor of
 * the SQL that a string of it may be. The input is the template and a name, divided by a byte 0xff.
 * The template is filled once with that name and once with harmless ones, and a lexer of SQL must
 * find the same tokens in both.
 */
#include "../../event/template.c"
#include "fuzz.h"

#define NAME_MAX_HERE 40
#define PROSE "\1"                      /* a string that is no SQL */

static bool is_blank(char c)
{
	return c == ' ' || (c >= '\t' && c <= '\r');
}

static int hex(char c)
{
	return c >= '0' && c <= '9' ? c - '0' : c >= 'a' && c <= 'f' ? c - 'a' + 10 : c >= 'A' &&
		c <= 'F' ? c - 'A' + 10 : 99;
}

/* The escape whose backslash is at i; what it means goes to content. */
static size_t skip_escape(struct span sql, size_t i, struct buf *content)
{
	char c = ++i < sql.n ? sql.p[i] : 0, plain = c == 'n' ? '\n' : c == 'r' ? '\r' : c == 'b' ||
		c == 'f' || c == 't' ? ' ' : c;
	size_t most = c == 'x' ? 2 : c == 'u' ? 4 : c == 'U' ? 8 : 3, base = c && strchr("xuU", c) ?
		16 : 8;
	size_t first = base == 16 ? i + 1 : i, n = 0;
	unsigned value = 0;

	while (n < most && first + n < sql.n && hex(sql.p[first + n]) < (int)base)
		value = value * (unsigned)base + (unsigned)hex(sql.p[first + n++]);
	if (n)
		plain = value < 0x80 ? (char)value : 'x';
	buf_add(content, &plain, 1);
	return n ? first + n : i + 1;
}

/* Behind the quoted text at i, whose other quotes are doubled; the end where it is not closed. */
static size_t skip_quoted(struct span sql, size_t i, bool escapes, struct buf *content,
	bool *closed)
{
	char quote = sql.p[i++];

	*closed = false;
	while (i < sql.n) {
		if (escapes && sql.p[i] == '\\') {
			i = skip_escape(sql, i, content);
			continue;
		}
		if (sql.p[i] == quote && !(i + 1 < sql.n && sql.p[i + 1] == quote)) {
			*closed = true;
			return i + 1;
		}
		i += sql.p[i] == quote;
		buf_add(content, &sql.p[i++], 1);
	}
	return sql.n;
}

static bool pair_at(struct span sql, size_t i, const char *pair)
{
	return i + 1 < sql.n && memcmp(sql.p + i, pair, 2) == 0;
}

/* Behind the comment that begins at i, or i. */
static size_t skip_comment(struct span sql, size_t i)
{
	int depth = 0;

	if (pair_at(sql, i, "--")) {
		while (i < sql.n && sql.p[i] != '\n' && sql.p[i] != '\r')
			i++;
		return i;
	}
	if (!pair_at(sql, i, "/*"))
		return i;
	do {
		depth += pair_at(sql, i, "/*") ? 1 : pair_at(sql, i, "*/") ? -1 : 0;
		i += pair_at(sql, i, "/*") || pair_at(sql, i, "*/") ? 2 : 1;
	} while (depth && i < sql.n);
	return i;
}

/* Where a string goes on that was closed before i, or sql.n. */
static size_t next_piece(struct span sql, size_t i)
{
	bool newline = false;

	while (i < sql.n && (is_blank(sql.p[i]) || pair_at(sql, i, "--"))) {
		newline |= sql.p[i] == '\n' || sql.p[i] == '\r';
		i = is_blank(sql.p[i]) ? i + 1 : skip_comment(sql, i);
	}
	return newline && i < sql.n && sql.p[i] == '\'' ? i : sql.n;
}

/* depth: how often a string may still be taken for SQL; false: the text ends within quotes */
static bool tokens(struct span sql, int depth, struct buf *kinds);

/* A string that may be SQL: its tokens in brackets. One that ends within quotes is no SQL. */
static size_t string_tokens(struct span sql, size_t i, bool escapes, int depth, struct buf *kinds,
	bool *closed)
{
	struct buf content = { 0 }, inner = { 0 };

	do
		i = skip_quoted(sql, i, escapes, &content, closed);
	while (*closed && next_piece(sql, i) < sql.n && (i = next_piece(sql, i)));
	buf_str(kinds, "s");
	if (depth > 0 && tokens((struct span){ content.p, content.len }, depth - 1, &inner))
		buf_fmt(kinds, "[%s]", buf_cstr(&inner));
	else if (depth > 0)
		buf_str(kinds, PROSE);
	buf_free(&content);
	buf_free(&inner);
	return i;
}

/* A body in dollars is taken for SQL with an end of its own. */
static size_t dollar_tokens(struct span sql, size_t i, size_t tag, int depth, struct buf *kinds,
	bool *closed)
{
	struct span body = { sql.p + i + tag, sql.n - i - tag };
	const char *end = memmem(body.p, body.n, sql.p + i, tag);

	*closed = end;
	if (end)
		body.n = (size_t)(end - body.p);
	buf_str(kinds, "{");
	tokens(body, depth, kinds);
	buf_str(kinds, end ? "}" : "");
	return i + tag + body.n + (end ? tag : 0);
}

/* A letter for each token of the SQL: w a word or a quoted name, s a string, braces around a
 * body in dollars, all else itself. Blanks and comments count for nothing. */
static bool tokens(struct span sql, int depth, struct buf *kinds)
{
	bool closed = true;

	for (size_t i = 0; i < sql.n;) {
		struct buf name = { 0 };
		size_t start = i, comment = skip_comment(sql, i);
		if (comment > i || is_blank(sql.p[i])) {
			i = comment > i ? comment : i + 1;
			continue;
		}
		size_t tag = sql.p[i] == '$' ? sql_dollar_tag(sql.p + i, sql.p + sql.n) : 0;
		if (tag) {
			i = dollar_tokens(sql, i, tag, depth, kinds, &closed);
			continue;
		}
		while (i < sql.n && sql_is_ident(sql.p[i]))
			i++;
		bool escapes = i - start == 1 && (sql.p[start] == 'E' || sql.p[start] == 'e');
		if (i < sql.n && sql.p[i] == '\'' && (i == start || escapes)) {
			i = string_tokens(sql, i, escapes, depth, kinds, &closed);
		} else if (i > start) {
			buf_str(kinds, "w");
		} else if (sql.p[i] == '"') {
			i = skip_quoted(sql, i, false, &name, &closed);
			buf_str(kinds, "w");
		} else {
			buf_add(kinds, &sql.p[i++], 1);
		}
		buf_free(&name);
	}
	return closed;
}

static bool holds_word(struct span text)
{
	return template_find(text.p, text.p + text.n) != TEMPLATE_WORDS;
}

/* Fills in the template; its words all mean names. */
static int fill(struct buf *out, struct span text, struct span name, struct span part)
{
	const struct span pkey[] = { name, name };
	struct template_words words = {
		.schema = name, .parent = name, .part = part, .pkey = pkey, .npkey = 2,
		.part_field = name,
		.start = span_of("2026-01-01"), .end = span_of("2026-01-02"),
	};
	struct err e = { 0 };

	buf_str(out, "before ");
	if (template_expand(out, text, &words, &e) < 0) {
		fuzz_check_err(&e, ERR_DATA, ERR_CONF);
		return e.code;
	}
	CHECK(e.code == 0 && out->len >= 7 && memcmp(out->p, "before ", 7) == 0);
	return 0;
}

/* a: filled with hostile names. A string that was no SQL with the harmless ones is not looked
 * into. */
static void check_tokens(const struct buf *a, const struct buf *b)
{
	for (int depth = 0; depth < 2; depth++) {
		struct buf a_kinds = { 0 }, b_kinds = { 0 };
		tokens((struct span){ a->p, a->len }, depth, &a_kinds);
		tokens((struct span){ b->p, b->len }, depth, &b_kinds);
		CHECK(strstr(buf_cstr(&b_kinds), PROSE) ||
			strcmp(buf_cstr(&a_kinds), buf_cstr(&b_kinds)) == 0);
		buf_free(&a_kinds);
		buf_free(&b_kinds);
	}
}

static void check_expansion(struct span text, struct span name)
{
	struct buf part = { 0 }, hostile = { 0 }, harmless = { 0 };

	if (nesting_check(text, &(struct err){ 0 }) < 0)
		return;
	buf_fmt(&part, "%.*s_2026", (int)name.n, name.p);
	int rc = fill(&hostile, text, name, (struct span){ part.p, part.len });
	if (rc == 0 && !holds_word(text))
		CHECK(span_eq((struct span){ hostile.p + 7, hostile.len - 7 }, text));
	if (rc == 0 && fill(&harmless, text, span_of("orders"), span_of("orders_2026")) == 0)
		check_tokens(&hostile, &harmless);
	buf_free(&part);
	buf_free(&hostile);
	buf_free(&harmless);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct span rest = { (const char *)data, size }, part = fuzz_part(&rest, (char)0xff);
	struct span text = fuzz_copy(part.p, part.n);
	struct span name = fuzz_copy(rest.p, rest.n < NAME_MAX_HERE ? rest.n : NAME_MAX_HERE);

	if (name.n && !memchr(name.p, 0, name.n) && !memchr(text.p, 0, text.n))
		check_expansion(text, name);
	fuzz_free(text);
	fuzz_free(name);
	return 0;
}
