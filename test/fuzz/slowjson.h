/*
 * The grammar and the strings of JSON once more, a byte at a time and without any trick: what
 * json.c and route.c are compared with.
 */
#ifndef SLOWJSON_H
#define SLOWJSON_H

#include "slow.h"

#define SLOW_DEPTH 64

/* ---- the grammar: each function returns what follows p, or NULL */

static inline const char *slow_value(const char *p, const char *end, int depth);

static inline const char *slow_blanks(const char *p, const char *end)
{
	while (p < end && *p && strchr(" \t\r\n", *p))
		p++;
	return p;
}

static inline const char *slow_string(const char *p, const char *end)
{
	if (p == end || *p++ != '"')
		return NULL;
	for (; p < end && *p != '"'; p++) {
		if ((unsigned char)*p < ' ')
			return NULL;
		if (*p != '\\')
			continue;
		if (++p == end || !*p || !strchr("\"\\/bfnrtu", *p))
			return NULL;
		for (int i = 0; *p == 'u' && i < 4; i++)
			if (end - p < 5 || !isxdigit((unsigned char)p[i + 1]))
				return NULL;
		p += *p == 'u' ? 4 : 0;
	}
	return p < end ? p + 1 : NULL;
}

static inline const char *slow_digits(const char *p, const char *end)
{
	const char *start = p;

	while (p < end && isdigit((unsigned char)*p))
		p++;
	return p > start ? p : NULL;
}

static inline const char *slow_number(const char *p, const char *end)
{
	p += p < end && *p == '-';
	p = p < end && *p == '0' ? p + 1 : slow_digits(p, end);
	if (p && p < end && *p == '.')
		p = slow_digits(p + 1, end);
	if (p && p < end && (*p == 'e' || *p == 'E')) {
		p++;
		p = slow_digits(p + (p < end && (*p == '+' || *p == '-')), end);
	}
	return p;
}

static inline const char *slow_member(const char *p, const char *end, int depth)
{
	p = slow_string(p, end);
	p = p ? slow_blanks(p, end) : NULL;
	if (!p || p == end || *p != ':')
		return NULL;
	return slow_value(slow_blanks(p + 1, end), end, depth);
}

static inline const char *slow_list(const char *p, const char *end, int depth)
{
	char close = *p == '{' ? '}' : ']';

	if (depth > SLOW_DEPTH)
		return NULL;
	p = slow_blanks(p + 1, end);
	if (p < end && *p == close)
		return p + 1;
	for (;;) {
		p = close == '}' ? slow_member(p, end, depth + 1) : slow_value(p, end, depth + 1);
		p = p ? slow_blanks(p, end) : NULL;
		if (!p || p == end || (*p != ',' && *p != close))
			return NULL;
		if (*p == close)
			return p + 1;
		p = slow_blanks(p + 1, end);
	}
}

static inline const char *slow_value(const char *p, const char *end, int depth)
{
	static const char *const words[] = { "true", "false", "null" };

	for (int i = 0; i < 3; i++)
		if ((size_t)(end - p) >= strlen(words[i]) &&
		    memcmp(p, words[i], strlen(words[i])) == 0)
			return p + strlen(words[i]);
	if (p == end)
		return NULL;
	if (*p == '{' || *p == '[')
		return slow_list(p, end, depth);
	return *p == '"' ? slow_string(p, end) : slow_number(p, end);
}

static inline bool slow_is_object(struct span text)
{
	const char *end = text.p + text.n, *p = slow_blanks(text.p, end);

	p = p < end && *p == '{' ? slow_list(p, end, 1) : NULL;
	return p && slow_blanks(p, end) == end;
}

/* ---- decoding */

static inline void slow_utf8(struct buf *out, long c)
{
	static const struct { long limit; int lead, more; } sizes[] = {
		{ 0x80, 0, 0 }, { 0x800, 0xc0, 1 }, { 0x10000, 0xe0, 2 }, { 0x110000, 0xf0, 3 },
	};
	int i = 0;

	while (c >= sizes[i].limit)
		i++;
	slow_put(out, (int)(sizes[i].lead | c >> (6 * sizes[i].more)));
	for (int k = sizes[i].more; k-- > 0;)
		slow_put(out, (int)(0x80 | (c >> (6 * k) & 0x3f)));
}

static inline long slow_hex4(const char *p)
{
	char hex[5] = { p[0], p[1], p[2], p[3], 0 };

	return strtol(hex, NULL, 16);
}

/* false: a string that is no text, from offset *bad on. */
static inline bool slow_json(struct buf *out, struct span raw, size_t *bad)
{
	static const char from[] = "bfnrt", to[] = "\b\f\n\r\t";

	if (*raw.p != '"') {
		buf_add(out, raw.p, raw.n);
		return true;
	}
	for (size_t i = 1; i < raw.n - 1; i++) {
		*bad = i;
		if (raw.p[i] != '\\') {
			slow_put(out, raw.p[i]);
			continue;
		}
		char c = raw.p[++i];
		if (c != 'u') {
			slow_put(out, strchr(from, c) ? to[strchr(from, c) - from] : c);
			continue;
		}
		long code = slow_hex4(raw.p + i + 1);
		i += 4;
		if (code >= 0xd800 && code < 0xdc00 && i + 7 < raw.n &&
		    raw.p[i + 1] == '\\' && raw.p[i + 2] == 'u') {
			long low = slow_hex4(raw.p + i + 3);
			if (low < 0xdc00 || low > 0xdfff)
				return false;
			code = 0x10000 + (code - 0xd800) * 0x400 + low - 0xdc00;
			i += 6;
		} else if (code == 0 || (code >= 0xd800 && code < 0xe000)) {
			return false;
		}
		slow_utf8(out, code);
	}
	return true;
}

/* ---- members of an object that slow_is_object takes */

/* Takes the next member off *rest, which begins behind `{`; the value NULL for null. */
static inline bool slow_next_json(struct span *rest, struct span *name, struct span *value)
{
	const char *end = rest->p + rest->n, *p = slow_blanks(rest->p, end);

	if (*p == ',')
		p = slow_blanks(p + 1, end);
	if (*p == '}')
		return false;
	const char *behind = slow_string(p, end);
	*name = (struct span){ p, (size_t)(behind - p) };
	p = slow_blanks(slow_blanks(behind, end) + 1, end);
	behind = slow_value(p, end, 2);
	*value = (struct span){ p, (size_t)(behind - p) };
	if (span_is(*value, "null"))
		*value = (struct span){ NULL, 0 };
	*rest = (struct span){ behind, (size_t)(end - behind) };
	return true;
}

#endif
