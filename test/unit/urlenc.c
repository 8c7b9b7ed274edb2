/* Tests of urlenc.c: splitting a row, decoding, and decoding with escapes for COPY. */
#include "../../base/buf.c"
#include "../../urlenc.c"
#include "unit.h"

/* ---- splitting: name=[value], NULL where there is no value; still encoded */

static const struct { struct span row; const char *wanted; } rows[] = {
	{ TEXT(""), "" },
	{ TEXT("a=1"), "a=[1]" },
	{ TEXT("a"), "a=NULL" },
	{ TEXT("a="), "a=[]" },
	{ TEXT("="), "=[]" },
	{ TEXT("=1"), "=[1]" },
	{ TEXT("&"), "" },
	{ TEXT("&&&"), "" },
	{ TEXT("a=1&b=2"), "a=[1] b=[2]" },
	{ TEXT("a&b"), "a=NULL b=NULL" },
	{ TEXT("a&b="), "a=NULL b=[]" },
	{ TEXT("a=&b"), "a=[] b=NULL" },
	{ TEXT("a=&=b&"), "a=[] =[b]" },
	{ TEXT("&a=1"), "a=[1]" },
	{ TEXT("a=1&"), "a=[1]" },
	{ TEXT("a=1&&&b=2&&"), "a=[1] b=[2]" },
	{ TEXT("a=b=c"), "a=[b=c]" },
	{ TEXT("a=="), "a=[=]" },
	{ TEXT("a=b=&c==d"), "a=[b=] c=[=d]" },
	{ TEXT("id=3&name=str&nullvalue&emptyvalue="), "id=[3] name=[str] nullvalue=NULL"
		" emptyvalue=[]" },
	{ TEXT("%c3%96dd+col=a%3db%26"), "%c3%96dd+col=[a%3db%26]" },
	{ TEXT("a%3d&a%26b=1"), "a%3d=NULL a%26b=[1]" },
	{ TEXT("a=%"), "a=[%]" },
	{ TEXT("a=1;b=2?c"), "a=[1;b=2?c]" },
	{ TEXT("a=1\n&b=\t"), "a=[1\n] b=[\t]" },
	{ TEXT("\xc3\xa4=\xff"), "\xc3\xa4=[\xff]" },
};

static void split(struct buf *out, struct span row)
{
	struct span rest = row, name, value;

	while (urlenc_next(&rest, &name, &value)) {
		buf_str(out, out->len ? " " : "");
		buf_add(out, name.p, name.n);
		buf_str(out, value.p ? "=[" : "=NULL");
		buf_add(out, value.p, value.n);
		buf_str(out, value.p ? "]" : "");
	}
	if (urlenc_next(&rest, &name, &value))
		buf_str(out, " and more");
}

static void test_split(void)
{
	struct buf got = { 0 };

	for (size_t i = 0; i < COUNT(rows); i++) {
		char *copy = unit_exact(rows[i].row);
		split(&got, (struct span){ copy, rows[i].row.n });
		check_buf("split", rows[i].row, &got, rows[i].wanted);
		free(copy);
	}
	buf_free(&got);
}

static void test_split_nul(void)
{
	static const struct span row = TEXT("a\0b=c\0&d\0");
	struct span rest = row, name, value;

	urlenc_next(&rest, &name, &value);
	check_span("split: NUL in", span_of("name"), name, (struct span)TEXT("a\0b"));
	check_span("split: NUL in", span_of("value"), value, (struct span)TEXT("c\0"));
	urlenc_next(&rest, &name, &value);
	check_span("split: NUL in", span_of("name of NULL"), name, (struct span)TEXT("d\0"));
}

/* Fields are slices of the row, not copies. */
static void test_split_borrows(void)
{
	static const char row[] = "ab=cd&e";
	struct span rest = { row, sizeof row - 1 }, name, value;

	urlenc_next(&rest, &name, &value);
	check_int("split: name is a slice", name.p - row, 0);
	check_int("split: value is a slice", value.p - row, 3);
	urlenc_next(&rest, &name, &value);
	check_int("split: second name is a slice", name.p - row, 6);
}

static void test_split_many(void)
{
	struct buf row = { 0 };
	size_t n = 0, total = 0;

	for (int i = 0; i < 100000; i++)
		buf_fmt(&row, "c%d=%d&", i, i);
	struct span rest = { row.p, row.len }, name, value;
	while (urlenc_next(&rest, &name, &value)) {
		n++;
		total += name.n + value.n + 2;
	}
	check_int("split: 100000 fields", (int64_t)n, 100000);
	check_int("split: 100000 fields, no byte lost", (int64_t)total, (int64_t)row.len);
	buf_free(&row);
}

/* ---- decoding; wanted begins with '!' where it is refused: the offset follows */

static const struct { struct span raw; const char *plain, *copy; } values[] = {
	{ TEXT(""), "", "" },
	{ TEXT("abc"), "abc", "abc" },
	{ TEXT("a+b"), "a b", "a b" },
	{ TEXT("+"), " ", " " },
	{ TEXT("++a++"), "  a  ", "  a  " },
	{ TEXT("%2b%2B"), "++", "++" },
	{ TEXT("%20"), " ", " " },
	{ TEXT("%25"), "%", "%" },
	{ TEXT("%25%32%35"), "%25", "%25" },
	{ TEXT("%2541"), "%41", "%41" },
	{ TEXT("%c3%96dd+col"), "\xc3\x96" "dd col", "\xc3\x96" "dd col" },
	{ TEXT("%C3%96"), "\xc3\x96", "\xc3\x96" },
	{ TEXT("%aF%Fa"), "\xaf\xfa", "\xaf\xfa" },
	{ TEXT("%26%3d"), "&=", "&=" },
	{ TEXT("a=b&c"), "a=b&c", "a=b&c" },
	{ TEXT("\xff\xfe"), "\xff\xfe", "\xff\xfe" },
	{ TEXT("\\"), "\\", "\\\\" },
	{ TEXT("%5c"), "\\", "\\\\" },
	{ TEXT("\\."), "\\.", "\\\\." },
	{ TEXT("%5C%2e"), "\\.", "\\\\." },
	{ TEXT("\\N"), "\\N", "\\\\N" },
	{ TEXT("%5cN"), "\\N", "\\\\N" },
	{ TEXT("\\\\\\"), "\\\\\\", "\\\\\\\\\\\\" },
	{ TEXT("\b\t\n\v\f\r"), "\b\t\n\v\f\r", "\\b\\t\\n\\v\\f\\r" },
	{ TEXT("%08%09%0a%0b%0c%0d"), "\b\t\n\v\f\r", "\\b\\t\\n\\v\\f\\r" },
	{ TEXT("%0A%0D"), "\n\r", "\\n\\r" },
	{ TEXT("%01%07%0e%1f%7f"), "\x01\x07\x0e\x1f\x7f", "\x01\x07\x0e\x1f\x7f" },
	{ TEXT("'\"$"), "'\"$", "'\"$" },
	{ TEXT("%"), "!0", "!0" },
	{ TEXT("%4"), "!0", "!0" },
	{ TEXT("%4z"), "!0", "!0" },
	{ TEXT("%z4"), "!0", "!0" },
	{ TEXT("%zz"), "!0", "!0" },
	{ TEXT("%4%41"), "!0", "!0" },
	{ TEXT("%%41"), "!0", "!0" },
	{ TEXT("%g0"), "!0", "!0" },
	{ TEXT("%0G"), "!0", "!0" },
	{ TEXT("%:0"), "!0", "!0" },
	{ TEXT("%/0"), "!0", "!0" },
	{ TEXT("%@0"), "!0", "!0" },
	{ TEXT("%`0"), "!0", "!0" },
	{ TEXT("% 1"), "!0", "!0" },
	{ TEXT("%+1"), "!0", "!0" },
	{ TEXT("%-1"), "!0", "!0" },
	{ TEXT("%0x41"), "!0", "!0" },
	{ TEXT("%u0041"), "!0", "!0" },
	{ TEXT("%\xc3\x96"), "!0", "!0" },
	{ TEXT("%00"), "!0", "!0" },
	{ TEXT("abc%00"), "!3", "!3" },
	{ TEXT("abc%4"), "!3", "!3" },
	{ TEXT("abc%"), "!3", "!3" },
	{ TEXT("%41%4z"), "!3", "!3" },
	{ TEXT("a+%41\n%4"), "!6", "!6" },
	{ TEXT("a%zz%00"), "!1", "!1" },
	{ TEXT("a%00%zz"), "!1", "!1" },
	{ TEXT("%0\0"), "!0", "!0" },
	{ TEXT("\0"), "!0", "!0" },
	{ TEXT("ab\0cd"), "!2", "!2" },
};

typedef ssize_t decoder(char *out, struct span raw, size_t *bad);

/* Input and output have exactly the room that the contract asks for. */
static void decode_into(struct buf *got, decoder *decode_value, struct span raw, size_t room)
{
	size_t bad = 999999;
	char *in = unit_exact(raw), *out = mem_alloc(room);
	ssize_t n = decode_value(out, (struct span){ in, raw.n }, &bad);

	if (n < 0)
		buf_fmt(got, "!%zu", bad);
	else
		buf_add(got, out, (size_t)n);
	free(in);
	free(out);
}

static void test_values(void)
{
	struct buf got = { 0 };

	for (size_t i = 0; i < COUNT(values); i++) {
		struct span raw = values[i].raw;
		decode_into(&got, urlenc_decode, raw, raw.n);
		check_buf("decode", raw, &got, values[i].plain);
		decode_into(&got, urlenc_copy, raw, 2 * raw.n);
		check_buf("copy", raw, &got, values[i].copy);
	}
	buf_free(&got);
}

/* What the server makes of a field in COPY's text format. false for what would end the field. */
static bool copy_unescape(struct buf *out, struct span text)
{
	static const char letters[] = "bfnrtv", meanings[] = "\b\f\n\r\t\v";

	for (size_t i = 0; i < text.n; i++) {
		char c = text.p[i];
		if (c == '\t' || c == '\n' || c == '\r')
			return false;
		if (c == '\\') {
			if (++i == text.n)
				return false;
			c = text.p[i];
			if (c == '.' || c == 'N' || c == 'x' || (c >= '0' && c <= '7'))
				return false;
			const char *letter = c ? strchr(letters, c) : NULL;
			c = letter ? meanings[letter - letters] : c;
		}
		buf_add(out, &c, 1);
	}
	return true;
}

/* Both ways through raw give wanted, or are refused at byte -wanted_n - 1. */
static bool reads_as(struct span raw, const char *wanted, ssize_t wanted_n)
{
	struct buf got = { 0 }, back = { 0 }, text = { 0 };
	bool ok;

	if (wanted_n < 0)
		buf_fmt(&text, "!%zd", -wanted_n - 1);
	else
		buf_add(&text, wanted, (size_t)wanted_n);
	decode_into(&got, urlenc_decode, raw, raw.n);
	ok = span_eq((struct span){ got.p, got.len }, (struct span){ text.p, text.len });
	got.len = 0;
	decode_into(&got, urlenc_copy, raw, 2 * raw.n);
	ok = ok && copy_unescape(&back, (struct span){ got.p, got.len });
	ok = ok && span_eq((struct span){ back.p, back.len }, (struct span){ text.p, text.len });
	buf_free(&got);
	buf_free(&back);
	buf_free(&text);
	return ok;
}

/* Each byte alone: as it stands, and as both forms of its escape. */
static void test_bytes(void)
{
	char raw[4], plain;
	int bad_plain = 0, bad_lower = 0, bad_upper = 0;

	for (int c = 1; c < 256; c++) {
		raw[0] = (char)c;
		plain = (char)(c == '+' ? ' ' : c);
		if (c != '%' && !bad_plain && !reads_as((struct span){ raw, 1 }, &plain, 1))
			bad_plain = c;
		plain = (char)c;
		snprintf(raw, sizeof raw, "%%%02x", (unsigned)c);
		if (!bad_lower && !reads_as((struct span){ raw, 3 }, &plain, 1))
			bad_lower = c;
		snprintf(raw, sizeof raw, "%%%02X", (unsigned)c);
		if (!bad_upper && !reads_as((struct span){ raw, 3 }, &plain, 1))
			bad_upper = c;
	}
	check_int("each byte as it stands: the first that is wrong", bad_plain, 0);
	check_int("each byte as %xx: the first that is wrong", bad_lower, 0);
	check_int("each byte as %XX: the first that is wrong", bad_upper, 0);
}

#define PLACES 20

/* The byte c at one place of a text that is ordinary but for it: as it stands, as an escape, and as
 * an escape that is cut. */
static bool byte_at(size_t place, int c, char filler)
{
	char wanted[PLACES], raw[PLACES + 3];
	size_t after = PLACES - place - 1;

	memset(wanted, filler == '+' ? ' ' : filler, sizeof wanted);
	memset(raw, filler, sizeof raw);
	wanted[place] = (char)(c == '+' ? ' ' : c);
	raw[place] = (char)c;
	bool ok = c == '%' || reads_as((struct span){ raw, PLACES }, wanted, c ? PLACES :
		-(ssize_t)place - 1);
	wanted[place] = (char)c;
	snprintf(raw + place, 4, "%%%02x", (unsigned)c);
	memset(raw + place + 3, filler, after);
	ok = ok && reads_as((struct span){ raw, PLACES + 2 }, wanted, c ? PLACES : -(ssize_t)place -
		1);
	return ok && reads_as((struct span){ raw, place + 2 }, NULL, -(ssize_t)place - 1);
}

/* Whatever the number of bytes that a decoder takes at a time. */
static void test_places(void)
{
	static const char fillers[] = "a+\x7f\x80\xa5\xab\xdc\xff"
		" $&*,[]\x21\x24\x26\x2a\x2c\x5b\x5d";
	struct buf got = { 0 };

	for (size_t place = 0; place < PLACES; place++)
		for (int c = 0; c < 256; c++)
			for (const char *filler = fillers; *filler; filler++)
				if (!byte_at(place, c, *filler) && got.len == 0)
					buf_fmt(&got, "byte %d at %zu among %d", c, place,
						(unsigned char)*filler);
	check_buf("", span_of("each byte at each place: the first that is wrong"), &got, "");
	buf_free(&got);
}

/* A value of any length from any place on ends at its &, whatever looks like one. */
static void test_split_places(void)
{
	static const char fillers[] = "a=+%'\xa6\xff\x01\x06\x66$\"";
	struct buf got = { 0 };

	for (size_t n = 0; n < 2 * PLACES; n++)
		for (size_t before = 0; before < 9; before++)
			for (const char *filler = fillers; *filler; filler++) {
				char row[3 * PLACES];
				memset(row, *filler, sizeof row);
				memset(row, 'n', before + 1);
				row[before + 1] = '=';
				row[before + 2 + n] = '&';
				char *copy = unit_exact((struct span){ row, before + 3 + n });
				struct span rest = { copy, before + 3 + n }, name, value;
				bool ok = urlenc_next(&rest, &name, &value) && name.n == before +
					1 && value.n == n && !urlenc_next(&rest, &name, &value);
				rest = (struct span){ copy, before + 2 + n };
				ok = ok && urlenc_next(&rest, &name, &value) && value.n == n;
				free(copy);
				if (!ok && got.len == 0)
					buf_fmt(&got, "%zu times %d after %zu", n,
						(unsigned char)*filler, before);
			}
	check_buf("", span_of("values of each length: the first that is wrong"), &got, "");
	buf_free(&got);
}

/* Escapes whose two characters after the % are not both hex digits, and %00: all of them
 * refused. */
static void test_escapes(void)
{
	size_t bad;
	int first_wrong = -1;
	char out[3];

	for (int i = 0; i < 65536; i++) {
		char raw[3] = { '%', (char)(i >> 8), (char)(i & 255) };
		bool valid = raw[1] && raw[2] && strchr("0123456789abcdefABCDEF", raw[1]) &&
			strchr("0123456789abcdefABCDEF", raw[2]) &&
			!(raw[1] == '0' && raw[2] == '0');
		if ((urlenc_decode(out, (struct span){ raw, 3 }, &bad) == 1) != valid &&
		    first_wrong < 0)
			first_wrong = i;
	}
	check_int("all 65536 escapes: the first that is wrong", first_wrong, -1);
}

/* Values of random bytes, of which some are encoded, come back by both ways. */
static void test_random(void)
{
	uint32_t seed = 20260131;
	struct buf plain = { 0 }, raw = { 0 };
	int wrong = 0;

	for (int round = 0; round < 4000; round++) {
		uint32_t one_in = 1u << round % 6;      /* how rare an escape is */
		plain.len = raw.len = 0;
		for (uint32_t n = unit_random(&seed) % 200; n; n--) {
			char c = (char)(unit_random(&seed) % 255 + 1);
			if (unit_random(&seed) % one_in && !(c >= 'a' && c <= 'z'))
				c = (char)('a' + (unsigned char)c % 26);
			buf_add(&plain, &c, 1);
			if (c == ' ' && unit_random(&seed) % 2)
				buf_str(&raw, "+");
			else if (c == '%' || c == '+' || unit_random(&seed) % one_in == 0)
				buf_fmt(&raw, unit_random(&seed) % 2 ? "%%%02x" : "%%%02X",
					(unsigned char)c);
			else
				buf_add(&raw, &c, 1);
		}
		wrong += !reads_as((struct span){ raw.p, raw.len }, plain.p, (ssize_t)plain.len);
	}
	check_int("4000 random values: how many are wrong", wrong, 0);
	buf_free(&plain);
	buf_free(&raw);
}

int main(void)
{
	test_split();
	test_split_nul();
	test_split_borrows();
	test_split_many();
	test_values();
	test_bytes();
	test_places();
	test_split_places();
	test_escapes();
	test_random();
	return unit_end();
}
