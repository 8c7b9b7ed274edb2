/*
 * Recognizes a part_template that makes a table like its parent and attaches it, or one that
 * inherits, and does nothing else: then its locks are known. When in doubt the answer is no. Its
 * statements are
 *
 *	create table _DEST_TABLE (like _PARENT ...), or (...) inherits (_PARENT)
 *	alter table [only] _DEST_TABLE add ...
 *	create [unique] index [name] on _DEST_TABLE ...
 *	grant ... on [table] _DEST_TABLE to ...
 *	alter table _PARENT attach partition _DEST_TABLE for values ...
 *
 * If its indexes and ATTACH stand last, the table can get its rows before them; those that LIKE
 * copies can be left to the caller.
 */
#include <string.h>
#include <strings.h>

#include "event.h"

struct scan {
	const char *p, *end;
	struct span token;              /* the current one; empty at the end */
	bool unsure;                    /* some quoting is not understood here */
};

static bool is_word_char(char c)
{
	return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
		c == '_' || (c & 0x80);
}

static void skip_space(struct scan *s)
{
	while (s->p < s->end) {
		if (s->end - s->p >= 2 && s->p[0] == '-' && s->p[1] == '-')
			while (s->p < s->end && *s->p != '\n' && *s->p != '\r')
				s->p++;
		else if (strchr(" \t\n\r\f\v", *s->p) && *s->p)
			s->p++;
		else
			return;
	}
}

/* Moves past the closing quote; a doubled quote counts as two strings. */
static void skip_quoted(struct scan *s)
{
	const char *close = memchr(s->p + 1, *s->p, (size_t)(s->end - s->p - 1));

	s->unsure |= !close || memchr(s->p, '\\', (size_t)(close - s->p));
	s->p = close ? close + 1 : s->end;
}

static void next(struct scan *s)
{
	skip_space(s);
	const char *start = s->p;
	if (s->p < s->end && (*s->p == '\'' || *s->p == '"')) {
		skip_quoted(s);
	} else if (s->p < s->end && is_word_char(*s->p)) {
		while (s->p < s->end && is_word_char(*s->p))
			s->p++;
	} else if (s->p < s->end) {
		s->unsure |= *s->p == '$' || *s->p == '/' || *s->p == '\\' || !*s->p;
		s->p++;
	}
	s->token = (struct span){ start, (size_t)(s->p - start) };
}

static bool is_token(const struct scan *s, const char *word, size_t n)
{
	/* template words are case-sensitive */
	return s->token.n == n && (*word == '_' ? strncmp : strncasecmp)(s->token.p, word, n) == 0;
}

/* Moves past these words, separated by single spaces, if they are the next tokens. */
static bool take(struct scan *s, const char *words)
{
	struct scan ahead = *s;

	for (const char *word = words; *word; word += *word == ' ') {
		size_t n = strcspn(word, " ");
		if (!is_token(&ahead, word, n))
			return false;
		next(&ahead);
		word += n;
	}
	*s = ahead;
	return true;
}

static bool is_mark(const struct scan *s, const char *marks)
{
	return s->token.n == 1 && memchr(marks, *s->token.p, strlen(marks));
}

/* A default is one word or literal: a call could do anything. */
static bool take_default(struct scan *s)
{
	bool plain = s->token.n && (is_word_char(*s->token.p) || *s->token.p == '\'');

	next(s);
	return plain && (!s->token.n || is_mark(s, ",);") || is_token(s, "not", 3));
}

/* Moves to that word, or to the end of the statement. false: a word before it may take another
 * lock. */
static bool take_until(struct scan *s, const char *end)
{
	static const char *const others[] = {
		"references", "foreign", "attach", "detach", "inherit", "inherits", "partition",
		"concurrently", "rename", "schema", "as", "like", "_PARENT", "_SCHEMA_TABLE",
	};

	while (s->token.n && *s->token.p != ';' && !is_token(s, end, strlen(end))) {
		for (size_t i = 0; i < sizeof others / sizeof *others; i++)
			if (is_token(s, others[i], strlen(others[i])))
				return false;
		bool value = take(s, "default");
		if (value && !take_default(s))
			return false;
		if (!value)
			next(s);
	}
	return true;
}

static bool take_rest(struct scan *s)
{
	return take_until(s, ";");
}

/* As take_rest, for a partition's bounds: words, literals, commas and brackets, but no call. */
static bool take_bounds(struct scan *s)
{
	while (s->token.n && !is_mark(s, ";")) {
		bool word = is_word_char(*s->token.p);
		bool list = take(s, "from") || take(s, "to") || take(s, "in") || take(s, "with");
		if (list)
			continue;
		if (!word && *s->token.p != '\'' && !is_mark(s, "(),"))
			return false;
		next(s);
		if (word && is_mark(s, "("))
			return false;
	}
	return true;
}

static bool take_index(struct scan *s)
{
	struct scan before = *s;

	if (!take(s, "create index") && !take(s, "create unique index")) {
		*s = before;
		return false;
	}
	if (!take(s, "on _DEST_TABLE")) {
		if (take(s, "concurrently"))
			return false;
		next(s);                /* the index's name */
		if (!take(s, "on _DEST_TABLE"))
			return false;
	}
	return take_rest(s);
}

/* After `add`: a primary or unique key, and nothing else in the statement? */
static bool is_key(struct scan s)
{
	int depth = 0;

	if (take(&s, "constraint"))
		next(&s);               /* its name */
	if (!take(&s, "primary key") && !take(&s, "unique"))
		return false;
	for (; s.token.n && !is_mark(&s, ";"); next(&s)) {
		depth += is_mark(&s, "(") - is_mark(&s, ")");
		if (depth == 0 && is_mark(&s, ","))
			return false;
	}
	return true;
}

enum statement { OTHER, ADDITION, INDEX, GRANT, ATTACH };

/* Privileges on the table alone, after `grant`. */
static bool take_grant(struct scan *s)
{
	if (!take_until(s, "on") || !take(s, "on"))
		return false;
	take(s, "table");
	return take(s, "_DEST_TABLE to") && take_rest(s);
}

static enum statement take_statement(struct scan *s)
{
	if (take(s, "alter table _PARENT attach partition _DEST_TABLE for values"))
		return take_bounds(s) ? ATTACH : OTHER;
	if (take(s, "alter table _DEST_TABLE add") || take(s, "alter table only _DEST_TABLE add")) {
		bool key = is_key(*s);
		return !take_rest(s) ? OTHER : key ? INDEX : ADDITION;
	}
	if (take(s, "grant"))
		return take_grant(s) ? GRANT : OTHER;
	return take_index(s) ? INDEX : OTHER;
}

/* Notes that such a statement begins at p. After the first index nothing may be added to the table,
 * and after ATTACH come privileges alone: else nothing can wait. */
static void note(struct attach_split *split, struct span template, const char *p,
	enum statement what)
{
	size_t at = (size_t)(p - template.p);

	if ((split->attach < template.n && what != GRANT) ||
	    (what == ADDITION && split->tail < template.n))
		split->mixed = true;
	if (split->tail == template.n && (what == INDEX || what == ATTACH))
		split->tail = at;
	if (what == ATTACH)
		split->attach = at;
}

/* Takes what LIKE includes and excludes. Are indexes included? */
static bool take_options(struct scan *s)
{
	static const char *const options[] = {
		"indexes", "all",       /* all others include none */
		"comments", "compression", "constraints", "defaults", "generated", "identity",
		"statistics", "storage",
	};
	bool including, indexes = false;

	while ((including = take(s, "including")) || take(s, "excluding")) {
		size_t i = 0, n = sizeof options / sizeof *options;
		while (i < n && !take(s, options[i]))
			i++;
		if (i == n)
			return false;
		indexes = i < 2 ? including : indexes;
	}
	return indexes;
}

/* The first statement, of the template that begins there: sets inherits and like. */
static bool take_table(struct scan *s, const char *template, struct attach_split *split)
{
	if (take(s, "create table _DEST_TABLE ( like _PARENT")) {
		if (take_options(s))
			split->like = (size_t)(s->token.p - template);
		return take_rest(s);
	}
	split->inherits = true;
	if (!take(s, "create table _DEST_TABLE (") || !take_until(s, "inherits") ||
	    !take(s, "inherits ("))
		return false;
	split->parent = (size_t)(s->token.p - template);
	split->parent_end = split->parent + s->token.n;
	return take(s, "_PARENT )") && take_rest(s);
}

static bool take_all(struct span template, struct attach_split *split)
{
	struct scan s = { .p = template.p, .end = template.p + template.n };
	int attached = 0;

	next(&s);
	if (!take_table(&s, template.p, split))
		return false;
	while (s.token.n) {
		const char *start = s.token.p;
		if (take(&s, ";"))
			continue;
		enum statement what = take_statement(&s);
		if (what == OTHER)
			return false;
		attached += what == ATTACH;
		note(split, template, start, what);
	}
	return attached == !split->inherits && !s.unsure;
}

bool attach_is_all(struct span template, struct attach_split *split)
{
	*split = (struct attach_split){ .tail = template.n, .attach = template.n };
	bool all = take_all(template, split);
	if (!all)
		*split = (struct attach_split){ .mixed = true };
	if (split->mixed)
		split->tail = split->attach = template.n;
	return all;
}
