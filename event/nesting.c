/*
 * Refuses, when the config is read, template words that quoting once does not make safe. A string
 * may itself be SQL that is executed (execute '...'); a word quoted inside it would need its quotes
 * doubled twice. We cannot tell whether a string is SQL, so we treat every string as SQL.
 */
#include <string.h>

#include "private.h"

/* The strings of one statement, which it may concatenate and execute. */
struct unit {
	enum template_word word;        /* _PKEY in a string, or any after an open quote */
	bool quotes;                    /* a string contains quotes, or a comment begins or ends */
	bool execute;                   /* it is an EXECUTE */
	enum template_word any;         /* any word in a string */
	bool comment;                   /* a comment begins or ends in one */
};

struct check {
	const char *text;
	struct err *err;
};

struct content {                        /* a string as the server reads it */
	struct buf text;
	bool glued;                     /* an escape or a piece boundary is inside a word */
};

#define NONE TEMPLATE_WORDS

static void refuse(struct check *k, const char *at, const char *what, const char *why)
{
	int line = 1;

	for (const char *p = k->text; p < at; p++)
		line += *p == '\n';
	err_set(k->err, ERR_CONF, "part_template: its line %d: %s %s", line, what, why);
}

/* The run that ends text and the run at p become one: is either a template word? */
static bool is_glued(struct buf *text, const char *p, const char *limit)
{
	const char *start = buf_cstr(text), *end = start + text->len, *run = end,
		*next = sql_run_end(p, limit);

	while (run > start && sql_is_ident(run[-1]))
		run--;
	return template_find(run, end) != NONE || template_find(p, next) != NONE;
}

/* p: after the opening quote. Returns what follows the closing one, or NULL. Appends the piece as
 * the server reads it to content. */
static const char *read_piece(struct content *content, const char *p, const char *limit,
	enum sql_place place)
{
	char quote = place == SQL_QUOTED_NAME ? '"' : '\'';

	while (p < limit) {
		if (place == SQL_ESCAPE_STRING && *p == '\\' && limit - p > 1) {
			char c;
			p = sql_escape(p, limit, &c);
			content->glued |= sql_is_ident(c) && is_glued(&content->text, p, limit);
			buf_add(&content->text, &c, 1);
			continue;
		}
		if (*p == quote && (limit - p < 2 || p[1] != quote))
			return p + 1;
		p += *p == quote;
		buf_add(&content->text, p++, 1);
	}
	return NULL;
}

static const char *read_string(struct content *content, const char *p, const char *limit,
	enum sql_place place)
{
	for (const char *next = p; p && next; next = p ? sql_continuation(p, limit) : NULL) {
		if (content->text.len && sql_is_ident(content->text.p[content->text.len - 1]) &&
		    next + 1 < limit && sql_is_ident(next[1]))
			content->glued |= is_glued(&content->text, next + 1, limit);
		p = read_piece(content, next + 1, limit, place);
	}
	return p;
}

/* End of the dollar-quoted body whose tag is at p: its closing tag, or limit. */
static const char *body_end(const char *p, const char *limit, size_t tag)
{
	const char *end = memmem(p + tag, (size_t)(limit - p) - tag, p, tag);

	return end ? end : limit;
}

/* End of the comment or quoted text at p; p if there is none, NULL if it is not closed. */
static const char *skip_quoted(const char *run, const char *p, const char *limit)
{
	const char *end = sql_comment_end(p, limit);
	size_t tag = *p == '$' ? sql_dollar_tag(p, limit) : 0;
	struct content content = { 0 };

	if (tag) {
		end = body_end(p, limit, tag);
		end = end < limit ? end + tag : NULL;
	} else if (*p == '\'') {
		end = read_string(&content, p, limit, sql_string_kind(run, p));
	} else if (*p == '"') {
		end = read_piece(&content, p + 1, limit, SQL_QUOTED_NAME);
	}
	buf_free(&content.text);
	return end;
}

/* A number directly followed by something else. Servers differ in where it ends: before 15, 1E'' is
 * 1 and a string E''. */
static bool is_unclear(const char *run, const char *end, const char *limit)
{
	if (*run != '$' && !(*run >= '0' && *run <= '9'))
		return false;
	return memchr(run + 1, '$', (size_t)(end - run - 1)) ||
		(end < limit && (sql_is_quote(*end) || *end == '&'));
}

/* The first word inside quotes or a comment of a string's content, which is treated as SQL, or
 * NONE. *open: it is in a quote that is not closed. Next to a quote counts as inside. */
static enum template_word quoted_word(const char *p, const char *limit, bool *open)
{
	enum template_word w = NONE;

	for (const char *start = p, *run = p, *end; p < limit && w == NONE; p = end) {
		end = skip_quoted(run, p, limit);
		*open = !end && sql_is_quote(*p);
		end = end ? end : limit;
		if (end > p) {
			w = template_find(p, end);
			continue;
		}
		end = sql_is_ident(*p) ? sql_run_end(p, limit) : p + 1;
		run = sql_is_ident(*p) ? p : run;
		bool touched = (p > start && (sql_is_quote(p[-1]) || p[-1] == '&')) ||
			(end < limit && (sql_is_quote(*end) || *end == '&'));
		if (sql_is_ident(*p) && is_unclear(p, end, limit))
			w = template_find(p, limit);
		else if (touched)
			w = template_find(p, end);
	}
	return w;
}

/* A name with a newline ends a comment that began in the string before, of which either half of the
 * two characters may stand at the end. */
static bool has_comment(struct span content)
{
	const char *last = content.p + content.n - 1;

	for (const char *p = content.p; p < last; p++)
		if (memcmp(p, "--", 2) == 0 || memcmp(p, "/*", 2) == 0 || memcmp(p, "*/", 2) == 0)
			return true;
	return strchr("-*", content.p[0]) || strchr("-/*", *last);
}

static bool has_quotes(struct span content)
{
	for (const char *p = content.p, *end = p + content.n; p < end; p++)
		if (sql_is_quote(*p) || (*p == '$' && sql_dollar_tag(p, end)))
			return true;
	return has_comment(content);
}

/* word: a word that the string would need quoted, or NONE. */
static void look_at_unit(struct check *k, const char *at, struct unit *unit,
	enum template_word word, struct span content)
{
	bool comment = content.n && has_comment(content), quotes = content.n && has_quotes(content);
	enum template_word any = content.n ? template_find(content.p, content.p + content.n) : NONE;

	if (unit->execute && ((any != NONE && unit->comment) || (comment && unit->any != NONE)))
		refuse(k, at, template_text[any != NONE ? any : unit->any], "is in a string, and a"
			" comment is in another one of the same EXECUTE: leave comments out, or"
			" write one string as $q$...$q$");
	else if ((word != NONE && unit->quotes) || (quotes && unit->word != NONE))
		refuse(k, at, template_text[word != NONE ? word : unit->word], "is in a string, and"
			" quotes or comments are in another one of the same statement. Put"
			" together, they would not be quoted right: leave those quotes to format()"
			" with"
			" %%L and %%I, or"
			" write one string as $q$...$q$");
	unit->word = word != NONE ? word : unit->word;
	unit->quotes |= quotes;
	unit->any = any != NONE ? any : unit->any;
	unit->comment |= comment;
}

static enum template_word find_key(struct span s)
{
	const char *pkey = template_text[PKEY];

	return s.n && memmem(s.p, s.n, pkey, strlen(pkey)) ? PKEY : NONE;
}

/* Prose may hold an apostrophe: "it's _PARENT". The only string of a statement may be prose. */
static const char *look_at_string(struct check *k, const char *run, const char *p,
	const char *limit, bool body, struct unit *unit)
{
	enum sql_place place = sql_string_kind(run, p);
	struct content content = { 0 };
	const char *end = read_string(&content, p, limit, place);
	struct span text = { buf_cstr(&content.text), content.text.len };
	enum template_word any = template_find(text.p, text.p + text.n), quoted = NONE;
	bool open = false;

	if (any != NONE && place == SQL_OTHER_STRING)
		refuse(k, p, template_text[any], "cannot be filled into a string that begins with"
			" B', X' or U&'");
	if (any != NONE && content.glued)
		refuse(k, p, template_text[any], "runs into an escape or the string's next piece:"
			" write it as one text");
	if (any != NONE)
		quoted = quoted_word(text.p, text.p + text.n, &open);
	if (quoted != NONE && (body || !open))
		refuse(k, p, template_text[quoted], "is quoted inside of a string, where its own"
			" quotes would have to be doubled again: write the string as $q$...$q$, or"
			" leave the quoting to format() with %%L and %%I");
	look_at_unit(k, p, unit, quoted != NONE ? quoted : find_key(text), text);
	buf_free(&content.text);
	return end ? end : limit;
}

static void look_at_code(struct check *, const char *p, const char *limit, bool body);

static const char *look_at_body(struct check *k, const char *p, const char *limit, size_t tag,
	struct unit *unit)
{
	const char *end = body_end(p, limit, tag);
	struct span text = { p + tag, (size_t)(end - p) - tag };

	look_at_code(k, text.p, end, true);
	look_at_unit(k, p, unit, find_key(text), text);
	return end < limit ? end + tag : limit;
}

static const char *look_at_name(struct check *k, const char *run, const char *p, const char *limit)
{
	const char *end = skip_quoted(run, p, limit);
	enum template_word w = template_find(p, end ? end : limit);

	if (w != NONE && sql_string_kind(run, p) == SQL_OTHER_STRING && run[1] == '&')
		refuse(k, p, template_text[w], "cannot be filled into a name that begins with"
			" U&\"");
	return end ? end : limit;
}

/* string: end of the last string before p. */
static const char *look_at_run(struct check *k, const char *string, const char *p,
	const char *limit)
{
	const char *end = sql_run_end(p, limit);
	enum template_word w = template_find(p, end);

	if (is_unclear(p, end, limit) && w == NONE)
		refuse(k, p, "a number", "runs into what follows it: write a blank between them");
	if ((w == PART_START || w == PART_END) &&
	    (sql_continuation(end, limit) || sql_next_line(string, p + 1) == p))
		refuse(k, p, template_text[w], "would be one string with the one in the line beside"
			" it");
	return end;
}

static void look_at_code(struct check *k, const char *p, const char *limit, bool body)
{
	static const struct unit none = { .word = NONE, .any = NONE };
	struct unit unit = none;

	for (const char *run = p, *string = p, *end; p < limit && !k->err->code; p = end) {
		size_t tag = *p == '$' ? sql_dollar_tag(p, limit) : 0;
		end = sql_comment_end(p, limit);
		if (end > p)
			continue;
		end = p + 1;
		if (tag) {
			end = look_at_body(k, p, limit, tag, &unit);
		} else if (*p == '\'') {
			end = string = look_at_string(k, run, p, limit, body, &unit);
		} else if (*p == '"') {
			end = look_at_name(k, run, p, limit);
		} else if (sql_is_ident(*p)) {
			end = look_at_run(k, string, p, limit);
			unit.execute |= end - p == 7 && strncasecmp(p, "execute", 7) == 0;
			run = p;
		} else if (*p == ';') {
			unit = none;
		}
	}
}

int nesting_check(struct span text, struct err *err)
{
	static const char setting[] = "standard_conforming_strings";
	struct check k = { .text = text.p, .err = err };

	look_at_code(&k, text.p, text.p + text.n, false);
	for (size_t i = 0; i + strlen(setting) <= text.n; i++)
		if (strncasecmp(text.p + i, setting, strlen(setting)) == 0)
			refuse(&k, text.p + i, setting, "must stay on: the words are quoted for"
				" that");
	return err->code;
}
