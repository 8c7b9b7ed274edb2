/* Fuzzes the ini reader: what it read, written down again, is read as the same. */
#include "../../ini.c"
#include "fuzz.h"

#define LOOKUPS_MAX 1000        /* more of them grow a value without end */

struct scope {
	const struct ini *ini;
	const char *section;
	int lookups;
};

/* The only entry of that section and key, or NULL. */
static const struct ini_entry *find(const struct ini *ini, const char *section, const char *key)
{
	const struct ini_entry *found = NULL;

	for (size_t i = 0; i < ini->n; i++) {
		const struct ini_entry *entry = &ini->entry[i];
		if (!span_is(entry->section, section) || strcmp(entry->key, key) != 0)
			continue;
		CHECK(!found);
		found = entry;
	}
	return found;
}

static const char *value_in_scope(void *ctx, const char *name)
{
	struct scope *scope = ctx;

	for (const char *p = name; *p; p++)
		CHECK(*p < 'A' || *p > 'Z');
	const struct ini_entry *entry = find(scope->ini, scope->section, name);
	if (!entry)
		entry = find(scope->ini, "DEFAULT", name);
	return entry && scope->lookups++ < LOOKUPS_MAX ? entry->value : NULL;
}

static void check_interpolation(const struct ini *ini, const char *section, const char *raw)
{
	struct scope scope = { ini, section, 0 };
	struct err e = { 0 };
	char *value = ini_interpolate(raw, value_in_scope, &scope, &e);

	if (!value)
		fuzz_check_err(&e, ERR_CONF, ERR_CONF);
	else
		CHECK(e.code == 0 && (strchr(raw, '%') || strcmp(raw, value) == 0));
	free(value);
}

static bool is_stripped(struct span s)
{
	struct span stripped = strip(s);

	return stripped.n == s.n;
}

static void check_entry(const struct ini *ini, const struct ini_entry *entry, struct span text)
{
	size_t key_n = strlen(entry->key);

	CHECK(fuzz_within(entry->section, text) && entry->section.n > 0);
	CHECK(!memchr(entry->section.p, '\n', entry->section.n) &&
		!memchr(entry->section.p, '\r', entry->section.n));
	CHECK(is_stripped((struct span){ entry->key, key_n }) &&
		strcspn(entry->key, "=:\n\r") == key_n);
	CHECK(!strchr(entry->value, '\r') &&
		(!*entry->value || !is_space(entry->value[strlen(entry->value) - 1])));
	if (key_n) {
		char *section = mem_str(entry->section.p, entry->section.n);
		CHECK(find(ini, section, entry->key) == entry);
		check_interpolation(ini, section, entry->value);
		free(section);
	}
}

/* The entries as a file that spells them plainly. */
static void write_down(const struct ini *ini, struct buf *out)
{
	for (size_t i = 0; i < ini->n; i++) {
		const struct ini_entry *entry = &ini->entry[i];
		if (!*entry->key) {
			buf_str(out, "[");
			buf_add(out, entry->section.p, entry->section.n);
			buf_str(out, "]\n");
			continue;
		}
		buf_fmt(out, "%s = ", entry->key);
		for (const char *p = entry->value; *p; p++)
			buf_str(out, *p == '\n' ? "\n  " : (const char[]){ *p, 0 });
		buf_str(out, "\n");
	}
}

static void check_same(const struct ini *a, const struct ini *b)
{
	CHECK(a->n == b->n);
	for (size_t i = 0; i < a->n; i++) {
		CHECK(span_eq(a->entry[i].section, b->entry[i].section));
		CHECK(strcmp(a->entry[i].key, b->entry[i].key) == 0);
		CHECK(strcmp(a->entry[i].value, b->entry[i].value) == 0);
	}
}

static void check_read(const struct ini *ini, struct span text)
{
	struct ini again = { 0 };
	struct buf written = { 0 };
	struct err e = { 0 };

	for (size_t i = 0; i < ini->n; i++) {
		CHECK(ini->entry[i].line > (i ? ini->entry[i - 1].line : 0));
		check_entry(ini, &ini->entry[i], text);
	}
	write_down(ini, &written);
	CHECK(ini_parse(&again, (struct span){ written.p, written.len }, &e) == 0);
	CHECK(ini_check(&again, NULL, &e) == 0);
	check_same(ini, &again);
	ini_free(&again);
	buf_free(&written);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct span text = fuzz_copy((const char *)data, size);
	struct ini ini = { 0 };
	struct err e = { 0 };
	size_t line = 0;

	if (ini_parse(&ini, text, &e) == 0 && ini_check(&ini, NULL, &e) == 0) {
		CHECK(e.code == 0);
		check_read(&ini, text);
	} else {
		fuzz_check_err(&e, ERR_CONF, ERR_CONF);
		CHECK(sscanf(e.msg, "line %zu: ", &line) == 1 && line >= 1 && line <= size);
	}
	ini_free(&ini);
	fuzz_free(text);
	return 0;
}
