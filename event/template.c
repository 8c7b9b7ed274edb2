/*
 * The words of part_template. The text is SQL, and a word's replacement is quoted for the place
 * where it stands: code, a string, a quoted identifier, a dollar-quoted body. In a comment
 * nothing is replaced. So that no name, wherever it came from, can end the quotes around it.
 *
 * A word that touches other identifier characters makes one identifier with them:
 * _DEST_TABLE_pkey becomes the bare table name and _pkey, quoted as a whole.
 */
#include <string.h>

#include "event.h"

enum place { CODE, STRING, ESCAPE_STRING, QUOTED_NAME };

struct expansion {
	struct buf *out;
	const struct template_words *words;
	struct err *err;
	struct buf piece;               /* scratch: the replacement of one run */
};

enum word { DEST_TABLE, SCHEMA_TABLE, PARENT, PKEY, PART_FIELD, PART_START, PART_END, NWORDS };

static const char *const word_text[NWORDS] = {
	"_DEST_TABLE", "_SCHEMA_TABLE", "_PARENT", "_PKEY", "_PART_FIELD", "_PART_START", "_PART_END",
};

static bool is_ident_char(char c)
{
	return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
		c == '_' || c == '$' || (c & 0x80);
}

static bool is_quote(char c)
{
	return c == '"' || c == '\'';
}

static enum word word_at(const char *p, const char *end)
{
	for (enum word w = 0; w < NWORDS; w++) {
		size_t n = strlen(word_text[w]);
		if ((size_t)(end - p) >= n && memcmp(p, word_text[w], n) == 0)
			return w;
	}
	return NWORDS;
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

static int missing(struct expansion *x, enum word w)
{
	if (w == PKEY)
		return err_set(x->err, ERR_DATA, "part_template uses _PKEY, but the event names no primary key: give the"
			" source's trigger one (pkey=...), or leave _PKEY out");
	return err_set(x->err, ERR_CONF, "part_template uses %s, but no part_field names a column", word_text[w]);
}

/* The word's bare text: as part of a longer identifier, or inside a quoted one. */
static int add_bare(struct expansion *x, enum word w)
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
		return err_set(x->err, ERR_CONF, "part_template: %s cannot be part of a longer name", word_text[w]);
	}
}

/* A longer name would be cut by the server, and two partitions' names become one. */
static int check_name(struct expansion *x, struct span name)
{
	if (name.n <= NAME_BYTES_MAX)
		return 0;
	return err_set(x->err, ERR_CONF, "part_template: the name %.*s would have %zu bytes, the server takes %d",
		name.n < 200 ? (int)name.n : 200, name.p, name.n, NAME_BYTES_MAX);
}

static int add_identifier(struct expansion *x, struct span name)
{
	if (check_name(x, name) < 0)
		return x->err->code;
	buf_ident(&x->piece, name);
	return 0;
}

/* The word as SQL: an identifier, a list of them or a literal. */
static int add_sql(struct expansion *x, enum word w)
{
	const struct template_words *words = x->words;
	struct buf name = { 0 };
	struct span literal = w == PART_START ? words->start : words->end;

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
				return err_set(x->err, ERR_DATA, "a column of the event's primary key has a name of %zu bytes,"
					" the server takes %d", words->pkey[i].n, NAME_BYTES_MAX);
			buf_str(&x->piece, i ? ", " : "");
			buf_ident(&x->piece, words->pkey[i]);
		}
		return 0;
	case PART_FIELD:
		if (!words->part_field.n)
			return missing(x, w);
		return add_identifier(x, words->part_field);
	default:
		if (!literal.n)
			return missing(x, w);
		buf_literal(&x->piece, literal);
		return 0;
	}
}

/* The run p..end of identifier characters that has words in it, as one identifier. */
static int add_joined(struct expansion *x, const char *p, const char *end, bool fold)
{
	while (p < end) {
		enum word w = word_at(p, end);
		if (w == NWORDS) {
			char c = fold && *p >= 'A' && *p <= 'Z' ? (char)(*p - 'A' + 'a') : *p;
			buf_add(&x->piece, &c, 1);
			p++;
			continue;
		}
		if (add_bare(x, w) < 0)
			return x->err->code;
		p += strlen(word_text[w]);
	}
	return 0;
}

static void put_piece(struct expansion *x, enum place place)
{
	for (size_t i = 0; i < x->piece.len; i++) {
		char c = x->piece.p[i];
		if (((place == STRING || place == ESCAPE_STRING) && c == '\'') || (place == QUOTED_NAME && c == '"') ||
		    (place == ESCAPE_STRING && c == '\\'))
			buf_add(x->out, &c, 1);
		buf_add(x->out, &c, 1);
	}
}

/* In code, a quote beside the piece would be taken for a part of it, or the piece for its prefix. */
static void put_code(struct expansion *x, bool quote_follows)
{
	if (x->out->len && is_quote(x->out->p[x->out->len - 1]))
		buf_add(x->out, " ", 1);
	put_piece(x, CODE);
	if (quote_follows)
		buf_add(x->out, " ", 1);
}

static bool has_word(const char *p, const char *end)
{
	for (; p < end; p++)
		if (word_at(p, end) != NWORDS)
			return true;
	return false;
}

/* Takes the run of identifier characters at p; returns its end. */
static const char *expand_run(struct expansion *x, const char *p, const char *limit, enum place place)
{
	const char *end = p;

	while (end < limit && is_ident_char(*end))
		end++;
	if (!has_word(p, end)) {
		buf_add(x->out, p, (size_t)(end - p));
		return end;
	}
	enum word w = word_at(p, end);
	bool alone = w != NWORDS && strlen(word_text[w]) == (size_t)(end - p);
	x->piece.len = 0;
	if (place == QUOTED_NAME) {
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
	if (place == CODE)
		put_code(x, end < limit && is_quote(*end));
	else
		put_piece(x, place);
	return end;
}

/* name as it stands between quotes: each quote in it twice. */
static int check_quoted_name(struct expansion *x, struct span name)
{
	size_t doubled = 0;

	for (size_t i = 0; i < name.n; i++)
		doubled += name.p[i] == '"';
	return name.n - doubled / 2 > NAME_BYTES_MAX ? check_name(x, name) : 0;
}

/* From the opening quote to the closing one, or to the end of the text. */
static const char *expand_quoted(struct expansion *x, const char *p, const char *limit, enum place place)
{
	char quote = place == QUOTED_NAME ? '"' : '\'';
	size_t before = x->out->len + 1;
	const char *start = p + 1;

	buf_add(x->out, p++, 1);
	while (p < limit && !x->err->code) {
		if (is_ident_char(*p)) {
			p = expand_run(x, p, limit, place);
			continue;
		}
		size_t n = place == ESCAPE_STRING && *p == '\\' && limit - p > 1 ? 2 : 1;
		if (*p == quote) {
			if (limit - p < 2 || p[1] != quote) {
				struct span name = { x->out->p + before, x->out->len - before };
				if (place == QUOTED_NAME && !span_eq(name, (struct span){ start, (size_t)(p - start) }))
					check_quoted_name(x, name);
				buf_add(x->out, p, 1);
				return p + 1;
			}
			n = 2;
		}
		buf_add(x->out, p, n);
		p += n;
	}
	return p;
}

/* End of the comment at p, which nests when it is C's; p when there is none. */
static const char *comment_end(const char *p, const char *limit)
{
	int depth = 0;

	if (limit - p >= 2 && p[0] == '-' && p[1] == '-') {
		while (p < limit && *p != '\n' && *p != '\r')
			p++;
		return p;
	}
	do {
		if (limit - p >= 2 && p[0] == '/' && p[1] == '*') {
			depth++;
			p += 2;
		} else if (limit - p >= 2 && p[0] == '*' && p[1] == '/' && depth) {
			depth--;
			p += 2;
		} else if (depth) {
			p++;
		}
	} while (depth && p < limit);
	return p;
}

/* Length of the $tag$ at p, or 0. */
static size_t dollar_tag(const char *p, const char *limit)
{
	const char *end = p + 1;

	while (end < limit && *end != '$' && is_ident_char(*end))
		end++;
	return end < limit && *end == '$' && !(p[1] >= '0' && p[1] <= '9') ? (size_t)(end - p) + 1 : 0;
}

static int expand_code(struct expansion *, const char *p, const char *limit);

/* Takes a dollar-quoted body, which is code with an end of its own, to behind that end. What goes
 * into it must not hold the end, nor make one together with it. */
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
		err_set(x->err, ERR_DATA, "part_template: a name holds the %.*s that ends a quoted body", (int)tag, p);
	return end ? end + tag : limit;
}

static int expand_code(struct expansion *x, const char *p, const char *limit)
{
	const char *run = p;            /* the last run of identifier characters: E makes a string another one */

	while (p < limit && !x->err->code) {
		const char *skip = comment_end(p, limit);
		if (skip > p) {
			buf_add(x->out, p, (size_t)(skip - p));
			p = skip;
		} else if (*p == '\'') {
			bool escapes = p - run == 1 && (*run == 'E' || *run == 'e');
			p = expand_quoted(x, p, limit, escapes ? ESCAPE_STRING : STRING);
		} else if (*p == '"') {
			p = expand_quoted(x, p, limit, QUOTED_NAME);
		} else if (*p == '$' && dollar_tag(p, limit)) {
			p = expand_dollar(x, p, limit, dollar_tag(p, limit));
		} else if (is_ident_char(*p)) {
			run = p;
			p = expand_run(x, p, limit, CODE);
		} else {
			buf_add(x->out, p++, 1);
		}
	}
	return x->err->code;
}

int template_expand(struct buf *out, struct span text, const struct template_words *words, struct err *err)
{
	struct expansion x = { .out = out, .words = words, .err = err };

	expand_code(&x, text.p, text.p + text.n);
	buf_free(&x.piece);
	return err->code;
}
