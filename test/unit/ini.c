/*
 * Tests of ini.c. With file names: prints what each file says, for test/ini_golden.sh to compare.
 *
 * Printed is what a reader of the file gets: for each section its own keys and then those of
 * [DEFAULT] that it lacks, interpolated, a line each: section, key and value with tabs between,
 * where in each of them \ stands as \\, a tab as \t and the end of a line as \n. A section without
 * any key has a line with an empty one. A file that is refused prints `error line N` alone.
 */
#include "../../base/buf.c"
#include "../../ini.c"
#include "../../conf/values.c"
#include "unit.h"

/* ---- the printing of files */

static const char *lookup_value(void *ctx, const char *name)
{
	const struct value *value = values_find(ctx, name);

	return value ? value->raw : NULL;
}

static void put_escaped(struct buf *out, const char *s)
{
	for (; *s; s++) {
		const char *escaped = *s == '\n' ? "\\n" : *s == '\t' ? "\\t" : *s == '\\' ?
			"\\\\" : NULL;
		if (escaped)
			buf_str(out, escaped);
		else
			buf_add(out, s, 1);
	}
}

static void put_line(struct buf *out, const char *section, const char *key, const char *value)
{
	put_escaped(out, section);
	buf_str(out, "\t");
	put_escaped(out, key);
	buf_str(out, "\t");
	put_escaped(out, value);
	buf_str(out, "\n");
}

/* The number in "line N: ..."; 0 when it does not begin so. */
static size_t line_of(const char *message)
{
	size_t line = 0;
	int end = 0;

	return sscanf(message, "line %zu: %n", &line, &end) == 1 && end > 0 ? line : 0;
}

/* The values that count: inherited are those of [DEFAULT]. 0, or the line of what is refused. */
static size_t put_values(struct buf *out, struct values *v, const char *section, bool inherited)
{
	for (size_t i = 0; i < v->n; i++) {
		const struct value *value = &v->at[i];
		struct err e = { 0 };
		if ((value->from == VALUE_DEFAULT) != inherited ||
		    values_find(v, value->key) != value)
			continue;
		char *text = ini_interpolate(value->raw, lookup_value, v, &e);
		if (!text)
			return line_of(value->where + strlen("f: "));
		put_line(out, section, value->key, text);
		free(text);
	}
	return 0;
}

static size_t put_section(struct buf *out, const struct ini *ini, const char *section)
{
	struct values v = { 0 };
	size_t before = out->len;

	add_section(&v, "f", ini, section);
	size_t bad = put_values(out, &v, section, false);
	if (!bad)
		bad = put_values(out, &v, section, true);
	if (!bad && out->len == before)
		put_line(out, section, "", "");
	values_free(&v);
	return bad;
}

static size_t put_ini(struct buf *out, const struct ini *ini)
{
	size_t bad = 0;

	for (size_t i = 0; i < ini->n && !bad; i++) {
		const struct ini_entry *entry = &ini->entry[i];
		if (*entry->key || span_is(entry->section, "DEFAULT"))
			continue;
		char *section = mem_str(entry->section.p, entry->section.n);
		bad = put_section(out, ini, section);
		free(section);
	}
	return bad;
}

static void print_ini(struct span text)
{
	struct ini ini = { 0 };
	struct err e = { 0 };
	struct buf out = { 0 };
	size_t bad;

	if (ini_parse(&ini, text, &e) < 0 || ini_check(&ini, NULL, &e) < 0)
		bad = line_of(e.msg);
	else
		bad = put_ini(&out, &ini);
	if (bad || e.code)
		printf("error line %zu\n", bad);
	else
		fputs(buf_cstr(&out), stdout);
	ini_free(&ini);
	buf_free(&out);
}

static int print_file(const char *path)
{
	struct buf text = { 0 };
	size_t n;
	FILE *f = fopen(path, "rb");

	if (!f) {
		perror(path);
		return 2;
	}
	while ((n = fread(buf_reserve(&text, 65536), 1, 65536, f)) > 0)
		text.len += n;
	fclose(f);
	char *exact = unit_exact((struct span){ text.p, text.len });
	print_ini((struct span){ exact, text.len });
	free(exact);
	buf_free(&text);
	return 0;
}

/* ---- what the files do not show: lines, kept text, messages, use after an error */

static const struct { struct span text; const char *wanted; } parses[] = {
	{ TEXT(""), "" },
	{ TEXT("\n\n# x\n"), "" },
	{ TEXT("[a]"), "1 a ''\n" },
	{ TEXT("[a]\nk=v"), "1 a ''\n2 a 'k'v\n" },
	{ TEXT("[a]\r\nk=v\r\n\r\nl=w\r\n"), "1 a ''\n2 a 'k'v\n4 a 'l'w\n" },
	{ TEXT("[a]\rk=v\r\rl=w\r"), "1 a ''\n2 a 'k'v\n4 a 'l'w\n" },
	{ TEXT("[a]\n\rk=v"), "1 a ''\n3 a 'k'v\n" },
	{ TEXT("[a]\n\nk=1\n 2\n\n 3\n# c\nl=4\n"), "1 a ''\n3 a 'k'1\n2\n\n3\n8 a 'l'4\n" },
	{ TEXT("[a]\nk=%(x)s %%\n"), "1 a ''\n2 a 'k'%(x)s %%\n" },
	{ TEXT("[b]\n[DEFAULT]\nK=v\n[DEFAULT]\n[ c ]\n"), "1 b ''\n2 DEFAULT ''\n3 DEFAULT 'k'v\n4"
		" DEFAULT ''\n5  c  ''\n" },
	{ TEXT("\xef\xbb\xbf[a]\nk=v"), "1 a ''\n2 a 'k'v\n" },
	{ TEXT("\xef\xbb\xbf"), "" },
	{ TEXT("\xef\xbb"), "!line 1: " },
	{ TEXT("[a]\n\xef\xbb\xbfk=v"), "1 a ''\n2 a '\xef\xbb\xbfk'v\n" },
	{ TEXT("k=v"), "!line 1: " },
	{ TEXT("\n#\n[a]\nk=1\nbare\nalso bare\n"), "!line 5: " },
	{ TEXT("[a]\r\n=v\r\n"), "!line 2: " },
	{ TEXT("[a]\nk=\0\n"), "!line 2: " },
	{ TEXT("\0"), "!line 1: " },
	{ TEXT("[a]\n# \0\n"), "!line 2: " },
	{ TEXT("[a]\nk=1\nl=2\nK=3\nl=4\n"), "!line 4: " },
	{ TEXT("[a]\nk=1\nk=2\nbare\n"), "!line " },
	{ TEXT("[a]\n[b]\nk=1\n[a]\n"), "!line 4: " },
};

/* "line section 'key'value" per entry, or the message after '!'. */
static void parse(struct buf *got, struct span text)
{
	struct ini ini = { 0 };
	struct err e = { 0 };
	char *copy = unit_exact(text);
	int code = ini_parse(&ini, (struct span){ copy, text.n }, &e);
	if (!code)
		code = ini_check(&ini, NULL, &e);

	for (size_t i = 0; i < ini.n && !code; i++) {
		const struct ini_entry *entry = &ini.entry[i];
		buf_fmt(got, "%zu %.*s '%s'%s\n", entry->line, (int)entry->section.n,
			entry->section.p, entry->key, entry->value);
	}
	if (code)
		buf_fmt(got, "!%s", code == e.code && code == ERR_CONF ? e.msg : "wrong code");
	ini_free(&ini);
	ini_free(&ini);
	free(copy);
}

static void test_parse(void)
{
	struct buf got = { 0 };

	for (size_t i = 0; i < COUNT(parses); i++) {
		const char *wanted = parses[i].wanted;
		parse(&got, parses[i].text);
		if (*wanted == '!' && strncmp(buf_cstr(&got), wanted, strlen(wanted)) == 0)
			got.len = strlen(wanted);
		check_buf("parse", parses[i].text, &got, wanted);
	}
	buf_free(&got);
}

/* Both lines of what is there twice are told, and the name. */
static void test_messages(void)
{
	static const struct { const char *text, *parts[3]; } table[] = {
		{ "[a]\nkey=1\n\nKEY=2\n", { "line 4", "key", "line 2" } },
		{ "[a]\n[b]\n[a]\n", { "line 3", "[a]", "line 1" } },
		{ "[a]\n\n = v\n", { "line 3", "'='", "" } },
		{ "[a]\n: v\n", { "line 2", "':'", "" } },
		{ "k=v\n", { "line 1", "[section]", "" } },
	};
	struct buf got = { 0 };

	for (size_t i = 0; i < COUNT(table); i++)
		for (int k = 0; k < 3; k++) {
			const char *part = table[i].parts[k];
			got.len = 0;
			parse(&got, span_of(table[i].text));
			bool there = strstr(buf_cstr(&got), part) != NULL;
			check_span("message for", span_of(table[i].text),
				span_of(there ? part : got.p), span_of(part));
		}
	buf_free(&got);
}

/* Names are looked up in small letters; values come from the context given. */
static const char *lookup_test(void *ctx, const char *name)
{
	return strcmp(name, ctx) == 0 ? "found" : strcmp(name, "percent") == 0 ? "%%" : NULL;
}

static void test_interpolate(void)
{
	static const struct { const char *raw, *wanted; } table[] = {
		{ "", "" }, { "plain", "plain" }, { "%(name)s", "found" }, { "%(NaMe)s", "found" },
		{ "a%(name)sb%(name)sc", "afoundbfoundc" }, { "%%", "%" },
		{ "%%(name)s", "%(name)s" },
		{ "%%%(name)s", "%found" }, { "%(percent)s", "%" },
		{ "%(percent)s(name)s", "%(name)s" },
		{ "%(other)s", NULL }, { "%", NULL }, { "a%", NULL }, { "100% sure", NULL },
		{ "%s", NULL },
		{ "%()s", NULL }, { "%(name)", NULL }, { "%(name)d", NULL }, { "%(name", NULL },
		{ "%(", NULL },
		{ "%( name )s", NULL }, { "%(na)me)s", NULL },
	};
	char ctx[] = "name";

	for (size_t i = 0; i < COUNT(table); i++) {
		struct err e = { 0 };
		char *got = ini_interpolate(table[i].raw, lookup_test, ctx, &e);
		check_span("interpolate", span_of(table[i].raw), span_of(got),
			span_of(table[i].wanted));
		if (!got && e.code != ERR_CONF)
			check_int("... is ERR_CONF", e.code, ERR_CONF);
		free(got);
	}
	struct err e = { 0 };
	free(ini_interpolate("%(Some_Key)s", lookup_test, ctx, &e));
	check_int("the message names what is missing", strstr(e.msg, "some_key") != NULL, 1);
}

/* Every way to end in the middle of something is read or refused, and frees what it took. */
static void test_cuts(void)
{
	static const char text[] = "\xef\xbb\xbf# c\r\n[a]\r\nkey = 1\r\n  2\r\n\r\n  3\r\n"
		"[DEFAULT]\nk: v\rl=%(k)s\n[b]\n = ";
	struct buf got = { 0 };
	size_t refused = 0;

	for (size_t n = 0; n <= sizeof text - 1; n++) {
		got.len = 0;
		parse(&got, (struct span){ text, n });
		refused += got.len > 0 && got.p[0] == '!';
	}
	/* 1-2: in the BOM; "[" and "[a"; "k", "ke", "key", "key "; "[" to "[DEFAULT"; "k"; "l";
	 * "[", "[b"; " =" and " = " */
	check_int("a text cut at each byte: how many are refused", (int64_t)refused, 2 + 2 + 4 + 8 +
		1 + 1 + 2 + 2);
	buf_free(&got);
}

int main(int argc, char **argv)
{
	if (argc > 1) {
		int bad = 0;
		for (int i = 1; i < argc; i++)
			bad |= print_file(argv[i]);
		return bad;
	}
	test_parse();
	test_messages();
	test_interpolate();
	test_cuts();
	return unit_end();
}
