/*
 * Where the tokens of SQL text begin and end: identifiers, comments, strings, dollar-quoted bodies,
 * as the server reads them with standard_conforming_strings on.
 */
#include <string.h>

#include "private.h"

const char *sql_run_end(const char *p, const char *limit)
{
	while (p < limit && sql_is_ident(*p))
		p++;
	return p;
}

static bool is_blank(char c)
{
	return c == ' ' || (c >= '\t' && c <= '\r');
}

const char *sql_comment_end(const char *p, const char *limit)
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

size_t sql_dollar_tag(const char *p, const char *limit)
{
	const char *end = p + 1;

	while (end < limit && *end != '$' && sql_is_ident(*end))
		end++;
	bool is_tag = end < limit && *end == '$' && !(p[1] >= '0' && p[1] <= '9');
	return is_tag ? (size_t)(end - p) + 1 : 0;
}

enum sql_place sql_string_kind(const char *run, const char *p)
{
	char c = (char)(*run | 0x20);

	if (p - run == 1 && c == 'e')
		return SQL_ESCAPE_STRING;
	if ((p - run == 1 && (c == 'b' || c == 'x')) || (p - run == 2 && c == 'u' && run[1] == '&'))
		return SQL_OTHER_STRING;
	return SQL_STRING;
}

const char *sql_next_line(const char *p, const char *limit)
{
	bool newline = false;

	while (p < limit && (is_blank(*p) || (*p == '-' && sql_comment_end(p, limit) > p))) {
		newline |= *p == '\n' || *p == '\r';
		p = *p == '-' ? sql_comment_end(p, limit) : p + 1;
	}
	return newline ? p : NULL;
}

const char *sql_continuation(const char *p, const char *limit)
{
	const char *next = sql_next_line(p, limit);

	return next && next < limit && *next == '\'' ? next : NULL;
}

/* 16: not a hexadecimal digit. */
static unsigned digit(char c)
{
	if (c >= '0' && c <= '9')
		return (unsigned)(c - '0');
	char letter = (char)(c | 0x20);
	return letter >= 'a' && letter <= 'f' ? (unsigned)(letter - 'a') + 10 : 16;
}

const char *sql_escape(const char *p, const char *limit, char *c)
{
	static const char letters[] = "bfnrt", meant[] = "\b\f\n\r\t";
	char first = *++p;
	int most = first == 'x' ? 2 : first == 'u' ? 4 : first == 'U' ? 8 : 3, n = 0;
	unsigned base = most == 3 ? 8 : 16, value = 0;
	const char *digits = base == 16 ? p + 1 : p;
	const char *letter = first ? strchr(letters, first) : NULL;

	for (; n < most && digits + n < limit && digit(digits[n]) < base; n++)
		value = value * base + digit(digits[n]);
	*c = n ? (char)(value < 0x80 ? value : 0x80) : letter ? meant[letter - letters] : first;
	return n ? digits + n : p + 1;
}
