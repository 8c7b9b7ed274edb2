/*
 * Arbitrary bytes as text that programs can read: the output is always valid UTF-8 without control
 * characters. Allocates nothing, since log.c uses it.
 */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base.h"

static const char replacement[] = "\xef\xbf\xbd";       /* U+FFFD, for an invalid byte */

/* Length of the character at p; 0 if it is invalid: truncated, overlong, a surrogate. */
static size_t char_bytes(const unsigned char *p, size_t n)
{
	size_t len = p[0] < 0x80 ? 1 : p[0] < 0xc2 ? 0 : p[0] < 0xe0 ? 2 : p[0] < 0xf0 ? 3 :
		p[0] < 0xf5 ? 4 : 0;

	if (len > n)
		return 0;
	for (size_t i = 1; i < len; i++)
		if ((p[i] & 0xc0) != 0x80)
			return 0;
	if ((p[0] == 0xe0 && p[1] < 0xa0) || (p[0] == 0xed && p[1] > 0x9f) ||
	    (p[0] == 0xf0 && p[1] < 0x90) || (p[0] == 0xf4 && p[1] > 0x8f))
		return 0;
	return len;
}

bool text_is_utf8(struct span text)
{
	size_t i = 0, n = 1;

	while (i < text.n && n) {
		n = char_bytes((const unsigned char *)text.p + i, text.n - i);
		i += n;
	}
	return i == text.n;
}

/* The code of a control character, be it for a terminal or for bidirectional text; -1 for
 * others. */
static int control(const char *p, size_t n)
{
	const unsigned char *u = (const unsigned char *)p;
	int code = n == 1 ? u[0] : n == 2 ? (u[0] & 0x1f) << 6 | (u[1] & 0x3f) :
		n == 3 ? (u[0] & 0x0f) << 12 | (u[1] & 0x3f) << 6 | (u[2] & 0x3f) : 'x';
	bool obeyed = code < 0x20 || (code >= 0x7f && code < 0xa0) ||
		(code >= 0x2028 && code <= 0x202e) || (code >= 0x2066 && code <= 0x2069);

	return obeyed ? code : -1;
}

/* The JSON form of one character or invalid byte at p, n bytes long. */
static size_t json_char(char out[8], const char *p, size_t n)
{
	static const char plain[] = "\"\\\n\r\t", letters[] = "\"\\nrt";
	const char *at = *p ? strchr(plain, *p) : NULL;

	if (at)
		return (size_t)sprintf(out, "\\%c", letters[at - plain]);
	if (control(p, n) >= 0)
		return (size_t)sprintf(out, "\\u%04x", (unsigned)control(p, n) & 0xffffu);
	memcpy(out, p, n);
	return n;
}

/* Prometheus has no other escapes. */
static size_t label_char(char out[8], const char *p, size_t n)
{
	if (*p == '"' || *p == '\\')
		return (size_t)sprintf(out, "\\%c", *p);
	if (control(p, n) >= 0)
		return (size_t)sprintf(out, "%s", *p == '\n' ? "\\n" : " ");
	memcpy(out, p, n);
	return n;
}

static size_t line_char(char out[8], const char *p, size_t n)
{
	int code = control(p, n);

	if (code >= 0 && strchr("\t\n\r", code) && code)
		return (size_t)sprintf(out, " ");
	if (code >= 0)
		return (size_t)sprintf(out, code < 0x100 ? "\\x%02x" : "\\u%04x",
			(unsigned)code & 0xffffu);
	memcpy(out, p, n);
	return n;
}

static size_t page_char(char out[8], const char *p, size_t n)
{
	if (*p != '\n' && *p != '\t')
		return line_char(out, p, n);
	*out = *p;
	return 1;
}

static size_t encode(char *out, size_t size, struct span text,
	size_t (*encode_char)(char[8], const char *, size_t))
{
	size_t done = 0;
	char one[8];

	for (size_t i = 0; i < text.n;) {
		size_t n = char_bytes((const unsigned char *)text.p + i, text.n - i);
		size_t len = n ? encode_char(one, text.p + i, n) : strlen(replacement);
		if (done + len > size)
			break;
		memcpy(out + done, n ? one : replacement, len);
		done += len;
		i += n ? n : 1;
	}
	return done;
}

size_t text_json(char *out, size_t size, struct span text)
{
	return encode(out, size, text, json_char);
}

size_t text_label(char *out, size_t size, struct span text)
{
	return encode(out, size, text, label_char);
}

size_t text_line(char *out, size_t size, struct span text)
{
	return encode(out, size, text, line_char);
}

size_t text_page(char *out, size_t size, struct span text)
{
	return encode(out, size, text, page_char);
}

const char *text_grouped(int64_t n, char out[TEXT_GROUPED])
{
	char digits[TEXT_GROUPED];
	int len = snprintf(digits, sizeof digits, "%" PRId64, n);
	size_t at = 0;

	for (int i = 0; i < len; i++) {
		if (i && (len - i) % 3 == 0 && digits[i - 1] != '-')
			out[at++] = ',';
		out[at++] = digits[i];
	}
	out[at] = 0;
	return out;
}

const char *text_s(int64_t n)
{
	return n == 1 ? "" : "s";
}

bool text_matches(struct span pattern, struct span text)
{
	size_t p = 0, i = 0, star = SIZE_MAX, retry = 0;

	while (i < text.n) {
		if (p < pattern.n && pattern.p[p] == '*') {
			star = p++;
			retry = i;
		} else if (p < pattern.n && pattern.p[p] == text.p[i]) {
			p++;
			i++;
		} else if (star != SIZE_MAX) {          /* the last `*` takes one byte more */
			p = star + 1;
			i = ++retry;
		} else {
			return false;
		}
	}
	while (p < pattern.n && pattern.p[p] == '*')
		p++;
	return p == pattern.n;
}
