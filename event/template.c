/*
 * The words of part_template. The text is SQL, and a word's replacement is quoted for its context:
 * code, a string, a quoted identifier, a dollar-quoted body. So no name, wherever it comes from,
 * can close the quotes around it. In comments nothing is replaced.
 *
 * A replacement is quoted once: nesting.c refuses what would need more.
 *
 * A word next to other identifier characters forms one identifier with them: _DEST_TABLE_pkey
 * becomes the bare table name plus _pkey, quoted as a whole.
 */
#include <string.h>

#include "private.h"

struct expansion {
	struct buf *out;
	const struct template_words *words;
	struct err *err;
	struct buf piece;               /* scratch: the replacement of one run */
	enum template_word doubled;     /* a word in this string whose replacement has quotes */
	bool value;                     /* in a dollar-quoted string that is not known to be SQL */
};

const char *const template_text[TEMPLATE_WORDS] = {
	"_DEST_TABLE", "_SCHEMA_TABLE", "_PARENT", "_PKEY", "_PART_FIELD", "_PART_START",
	"_PART_END", "_PART_VALUE",
};

static enum template_word word_at(const char *p, const char *end)
{
	for (enum template_word w = 0; w < TEMPLATE_WORDS; w++) {
		size_t n = strlen(template_text[w]);
		if ((size_t)(end - p) >= n && memcmp(p, template_text[w], n) == 0)
			return w;
	}
	return TEMPLATE_WORDS;
}

enum template_word template_find(const char *p, const char *end)
{
	enum template_word w = TEMPLATE_WORDS;

	while (p < end && w == TEMPLATE_WORDS)
		w = word_at(p++, end);
	return w;
}

static void add_schema_table(struct buf *b, const struct template_words *words)
{
	size_t start = b->len;

	if (words->schema.n) {
		buf_add(b, words->schema.p, words->schema.n);
		buf_str(b, "_");
	}
	buf_add(b, words->part.p, words->part.n);
	for (size_t i = start; i < b->len; i++)
		if (b->p[i] == '.')
			b->p[i] = '_';
}

static int missing(struct expansion *x, enum template_word w)
{
	if (w == PKEY)
		return err_set(x->err, ERR_DATA, "part_template uses _PKEY, but the source names no"
			" primary key: give one to the table, or to its trigger (pkey=...), or"
			" leave _PKEY out");
	return err_set(x->err, ERR_CONF, "part_template uses %s, but %s", template_text[w],
		w == PART_VALUE ? "part_method is not list" : x->words->value.n ? "part_method = "
		"list has no bounds: write _PART_VALUE" : "no part_field names a column");
}

/* The word's unquoted text, for part of a longer identifier or the inside of a quoted one. */
static int add_bare(struct expansion *x, enum template_word w)
{
	const struct template_words *words = x->words;
	struct buf *b = &x->piece;

	switch (w) {
	case DEST_TABLE:
		buf_add(b, words->part.p, words->part.n);
		return 0;
	case SCHEMA_TABLE:
		add_schema_table(b, words);
		return 0;
	case PARENT:
		buf_add(b, words->parent.p, words->parent.n);
		return 0;
	case PART_FIELD:
		if (!words->part_field.n)
			return missing(x, w);
		buf_add(b, words->part_field.p, words->part_field.n);
		return 0;
	default:
		return err_set(x->err, ERR_CONF, "part_template: %s cannot be part of a longer"
			" name", template_text[w]);
	}
}

/* The server would truncate a longer name, and two partitions might get the same one. By a list it
 * is the value that is too long. */
static int check_name(struct expansion *x, struct span name)
{
	if (name.n <= NAME_BYTES_MAX)
		return 0;
	return err_set(x->err, x->words->value.n ? ERR_DATA : ERR_CONF, "part_template: the name"
		" %.*s would have %zu bytes, the server takes %d", name.n < 200 ? (int)name.n : 200,
		name.p, name.n, NAME_BYTES_MAX);
}

static int add_identifier(struct expansion *x, struct span name)
{
	if (check_name(x, name) < 0)
		return x->err->code;
	buf_ident(&x->piece, name);
	return 0;
}

/* _PART_START, _PART_END or _PART_VALUE. */
static int add_literal(struct expansion *x, enum template_word w)
{
	const struct template_words *words = x->words;
	struct span literal = w == PART_VALUE ? words->value : w == PART_START ? words->start :
		words->end;

	if (!literal.n)
		return missing(x, w);
	if (words->numbers)             /* a blank, for a minus may stand before it */
		buf_fmt(&x->piece, "%s%.*s", *literal.p == '-' ? " " : "", (int)literal.n,
			literal.p);
	else
		buf_literal(&x->piece, literal);
	return 0;
}

/* The word as SQL: an identifier, a list of them or a literal. */
static int add_sql(struct expansion *x, enum template_word w)
{
	const struct template_words *words = x->words;
	struct buf name = { 0 };

	switch (w) {
	case DEST_TABLE:
		buf_qualified(&x->piece, words->schema, words->part);
		return check_name(x, words->part);
	case PARENT:
		buf_qualified(&x->piece, words->schema, words->parent);
		return check_name(x, words->parent);
	case SCHEMA_TABLE:
		add_schema_table(&name, words);
		add_identifier(x, (struct span){ name.p, name.len });
		buf_free(&name);
		return x->err->code;
	case PKEY:
		if (words->npkey == 0)
			return missing(x, w);
		for (size_t i = 0; i < words->npkey; i++) {
			if (words->pkey[i].n > NAME_BYTES_MAX)
				return err_set(x->err, ERR_DATA, "a column of the event's primary"
					" key has a name of %zu bytes, the server takes %d",
					words->pkey[i].n, NAME_BYTES_MAX);
			buf_str(&x->piece, i ? ", " : "");
			buf_ident(&x->piece, words->pkey[i]);
		}
		return 0;
	case PART_FIELD:
		if (!words->part_field.n)
			return missing(x, w);
		return add_identifier(x, words->part_field);
	default:
		return add_literal(x, w);
	}
}

/* The run p..end of identifier characters, which contains words, as one identifier. */
static int add_joined(struct expansion *x, const char *p, const char *end, bool fold)
{
	while (p < end) {
		enum template_word w = word_at(p, end);
		if (w == TEMPLATE_WORDS) {
			char c = fold && *p >= 'A' && *p <= 'Z' ? (char)(*p - 'A' + 'a') : *p;
			buf_add(&x->piece, &c, 1);
			p++;
			continue;
		}
		if (add_bare(x, w) < 0)
			return x->err->code;
		p += strlen(template_text[w]);
	}
	return 0;
}

static void put_piece(struct expansion *x, enum sql_place place)
{
	for (size_t i = 0; i < x->piece.len; i++) {
		char c = x->piece.p[i];
		if ((place != SQL_CODE && place != SQL_QUOTED_NAME && c == '\'') ||
		    (place == SQL_QUOTED_NAME && c == '"') ||
		    (place == SQL_ESCAPE_STRING && c == '\\'))
			buf_add(x->out, &c, 1);
		buf_add(x->out, &c, 1);
	}
}

/* In code, an adjacent quote would become part of the piece, or the piece its prefix, such as
 * U&. */
static void put_code(struct expansion *x, const char *p, const char *limit)
{
	char before = x->out->len ? x->out->p[x->out->len - 1] : ' ', after = p < limit ? *p : ' ';

	if (sql_is_quote(before) || before == '&')
		buf_add(x->out, " ", 1);
	put_piece(x, SQL_CODE);
	if (sql_is_quote(after) || after == '&')
		buf_add(x->out, " ", 1);
}

/* Expands the run of identifier characters at p; returns its end. */
static const char *expand_run(struct expansion *x, const char *p, const char *limit,
	enum sql_place place)
{
	const char *end = sql_run_end(p, limit);

	if (template_find(p, end) == TEMPLATE_WORDS) {
		buf_add(x->out, p, (size_t)(end - p));
		return end;
	}
	enum template_word w = word_at(p, end);
	bool alone = w != TEMPLATE_WORDS && strlen(template_text[w]) == (size_t)(end - p);
	x->piece.len = 0;
	if (place == SQL_QUOTED_NAME) {
		add_joined(x, p, end, false);
	} else if (alone) {
		add_sql(x, w);
	} else {
		struct buf joined = { 0 };
		add_joined(x, p, end, true);
		buf_add(&joined, x->piece.p, x->piece.len);
		x->piece.len = 0;
		if (!x->err->code)
			add_identifier(x, (struct span){ joined.p, joined.len });
		buf_free(&joined);
	}
	size_t before = x->out->len;
	if (place == SQL_CODE)
		put_code(x, end, limit);
	else
		put_piece(x, place);
	if (place != SQL_CODE && x->out->len > before + x->piece.len)
		x->doubled = alone ? w : DEST_TABLE;
	return end;
}

/* Nothing undoes the doubling of a name's quotes where the text is no SQL, or ends inside a quote:
 * "it's _PARENT". */
static void check_doubled(struct expansion *x)
{
	if (x->doubled != TEMPLATE_WORDS)
		err_set(x->err, x->doubled == PKEY ? ERR_DATA : ERR_CONF, "part_template: a name"
			" that holds a quote would be changed between the quotes in a string $...$"
			" that is no argument of EXECUTE: leave these to format() with %%L and"
			" %%I");
}

/* name: as it stands between quotes, with its own quotes doubled. */
static int check_quoted_name(struct expansion *x, struct span name)
{
	size_t doubled = 0;

	for (size_t i = 0; i < name.n; i++)
		doubled += name.p[i] == '"';
	return name.n - doubled / 2 > NAME_BYTES_MAX ? check_name(x, name) : 0;
}

/* Expands from after the opening quote to after the closing one, or to the end of the text. */
static const char *expand_piece(struct expansion *x, const char *p, const char *limit,
	enum sql_place place)
{
	char quote = place == SQL_QUOTED_NAME ? '"' : '\'';
	bool ends = false;

	x->doubled = TEMPLATE_WORDS;
	while (p < limit && !ends && !x->err->code) {
		if (sql_is_ident(*p)) {
			p = expand_run(x, p, limit, place);
			continue;
		}
		char meant;
		bool escape = place == SQL_ESCAPE_STRING && *p == '\\' && limit - p > 1;
		size_t n = escape ? (size_t)(sql_escape(p, limit, &meant) - p) : 1;
		ends = *p == quote && (limit - p < 2 || p[1] != quote);
		n = *p == quote && !ends ? 2 : n;
		buf_add(x->out, p, n);
		p += n;
	}
	if (!ends || x->value)
		check_doubled(x);
	return p;
}

/* As expand_piece, from the opening quote. */
static const char *expand_name(struct expansion *x, const char *p, const char *limit)
{
	const char *start = p + 1;

	buf_add(x->out, p, 1);
	size_t before = x->out->len;
	p = expand_piece(x, start, limit, SQL_QUOTED_NAME);
	struct span name = { x->out->p + before, x->out->len - before };
	if (!span_eq(name, (struct span){ start, (size_t)(p - start) }) && p[-1] == '"')
		check_quoted_name(x, (struct span){ name.p, name.n - 1 });
	return p;
}

/* The same for a string, with the pieces that continue it. */
static const char *expand_string(struct expansion *x, const char *p, const char *limit,
	enum sql_place place)
{
	for (const char *next = p; next && !x->err->code; next = sql_continuation(p, limit)) {
		buf_add(x->out, p, (size_t)(next + 1 - p));
		p = expand_piece(x, next + 1, limit, place);
	}
	return p;
}

static int expand_code(struct expansion *, const char *p, const char *limit);

/* Expands a dollar-quoted body, which is code up to its closing tag, and returns what follows the
 * tag. A replacement must not contain the tag, nor form one with the text around it. */
static const char *expand_dollar(struct expansion *x, const char *p, const char *limit, size_t tag)
{
	const char *body = p + tag, *end = memmem(body, (size_t)(limit - body), p, tag);

	buf_add(x->out, p, tag);
	size_t from = x->out->len;
	expand_code(x, body, end ? end : limit);
	size_t to = x->out->len;
	if (end)
		buf_add(x->out, p, tag);
	const char *first = memmem(x->out->p + from, x->out->len - from, p, tag);
	if (first && (!end || first < x->out->p + to))
		err_set(x->err, ERR_DATA, "part_template: a name holds the %.*s that ends a quoted"
			" body", (int)tag, p);
	return end ? end + tag : limit;
}

/* Does the word that ends there make a body that follows it SQL? */
static bool makes_code(const char *word, const char *end, const char *body)
{
	static const char *const makers[] = { "do", "as", "execute", "plpgsql", "sql" };

	for (const char *p = end; p < body; p++)
		if (!strchr(" \t\n\r", *p))
			return false;
	for (size_t i = 0; i < sizeof makers / sizeof *makers; i++) {
		size_t n = strlen(makers[i]);
		if ((size_t)(end - word) == n && strncasecmp(word, makers[i], n) == 0)
			return true;
	}
	return false;
}

static int expand_code(struct expansion *x, const char *p, const char *limit)
{
	const char *run = p, *end = p;          /* last identifier run: E'' has a prefix */
	bool value = x->value;

	while (p < limit && !x->err->code) {
		const char *skip = sql_comment_end(p, limit);
		if (skip > p) {
			buf_add(x->out, p, (size_t)(skip - p));
			p = skip;
		} else if (*p == '\'') {
			p = expand_string(x, p, limit, sql_string_kind(run, p));
		} else if (*p == '"') {
			p = expand_name(x, p, limit);
		} else if (*p == '$' && sql_dollar_tag(p, limit)) {
			x->value = !makes_code(run, end, p);
			p = expand_dollar(x, p, limit, sql_dollar_tag(p, limit));
			x->value = value;
		} else if (sql_is_ident(*p)) {
			run = p;
			end = sql_run_end(p, limit);
			p = expand_run(x, p, limit, SQL_CODE);
		} else {
			buf_add(x->out, p++, 1);
		}
	}
	return x->err->code;
}

int template_expand(struct buf *out, struct span text, const struct template_words *words,
	struct err *err)
{
	struct expansion x = { .out = out, .words = words, .err = err };

	expand_code(&x, text.p, text.p + text.n);
	buf_free(&x.piece);
	return err->code;
}
