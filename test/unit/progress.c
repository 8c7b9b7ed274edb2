/* Tests of progress.c and tally.c: the lines for people and for scripts, and the sums of
 * partitions. */
#include "../../base/buf.c"
#include "../../base/print.c"
#include "../../base/tally.c"
#include "../../load/progress.c"
#include "unit.h"

int64_t clock_ms(void)
{
	return 0;
}

bool process_stop_after_batch(void)
{
	return false;
}

static void test_numbers(void)
{
	static const struct { int64_t n; const char *wanted; } cases[] = {
		{ 0, "0" }, { 12, "12" }, { 999, "999" }, { 1000, "1,000" }, { 123456, "123,456" },
		{ 1234567, "1,234,567" },
		{ -1234, "-1,234" }, { -123, "-123" }, { INT64_MAX, "9,223,372,036,854,775,807" },
		{ INT64_MIN, "-9,223,372,036,854,775,808" },
	};
	char text[GROUPED_MAX];

	for (size_t i = 0; i < COUNT(cases); i++)
		check_str(cases[i].wanted, grouped(cases[i].n, text), cases[i].wanted);
}

static void test_lines(void)
{
	static const struct { struct progress p; int64_t events, ms; const char *text, *json;
		} cases[] = {
		{ { .total = -1 }, 0, 0, "0 events, 0/s, 0 partitions created",
			"\"seconds\":0.000,\"events\":0,\"events_estimated\":null,"
			"\"events_per_second\":0,\"seconds_left\":null,"
			"\"partitions_created\":0,\"verifying\":false}" },
		{ { .total = 5000, .parts = 1 }, 1000, 1999, "1,000 of about 5,000 events, 500/s, 1"
			" partition created", NULL },
		{ { .total = 5000, .parts = 2 }, 1000, 4000, "1,000 of about 5,000 events, 250/s,"
			" 0:00:16 left, 2 partitions created",
			"\"seconds\":4.000,\"events\":1000,\"events_estimated\":5000,"
			"\"events_per_second\":250,\"seconds_left\":16,"
			"\"partitions_created\":2,\"verifying\":false}" },
		{ { .total = 9000000000 }, 1, 3000, "1 of about 9,000,000,000 events, 0/s,"
			" 7499999:59:57 left, 0 partitions created", NULL },
		{ { .total = 10 }, 20, 4000, "20 events, 5/s, 0:00:00 left, 0 partitions created",
			NULL },
		{ { .total = 5000, .parts = 2, .verifying = true }, 1000, 4000,
			"1,000 of about 5,000 events, 250/s, 2 partitions created, verifying",
			NULL },
		{ { .total = 5000, .parts = 2, .stopping = true }, 1000, 1000,
			"stopping after this batch: 1,000 of about 5,000 events, 1,000/s, 2"
			" partitions created", NULL },
		{ { .total = 5000 }, 0, 9000, "0 of about 5,000 events, 0/s, 0 partitions created",
			NULL },
	};
	struct buf out = { 0 };

	for (size_t i = 0; i < COUNT(cases); i++) {
		add_text(&out, &cases[i].p, cases[i].events, cases[i].ms);
		check_buf("", span_of(cases[i].text), &out, cases[i].text);
		if (!cases[i].json)
			continue;
		buf_str(&out, "{\"type\":\"progress\",");
		buf_str(&out, cases[i].json);
		char *wanted = mem_str(out.p, out.len);
		out.len = 0;
		add_json_now(&out, &cases[i].p, cases[i].events, cases[i].ms);
		check_buf("json", span_of(cases[i].text), &out, wanted);
		free(wanted);
	}
	buf_free(&out);
}

/* Asked again and again it shows no more often than it should. */
static void test_times(void)
{
	struct progress p;

	progress_begin(&p, PROGRESS_LOG);
	check_int("the whole time at first", progress_show(&p, 1), 10000);
	p.shown_ms = -9000;
	check_int("the rest of it", progress_show(&p, 1), 1000);
	check_int("it is told what it did not show", p.now_events, 1);
	p.verifying = true;
	progress_show(&p, 0);
	check_int("the second reading does not count", p.now_events, 1);
}

static void test_tally(void)
{
	struct tally t = { 0 }, sum = { 0 };
	char name[NAME_BYTES_MAX + 1];
	bool sorted = true, found = true;

	for (int i = 0; i < 1000; i++) {
		snprintf(name, sizeof name, "p%03d", i * 7 % 500);
		if (tally_add(&t, name, i) != (i < 500))
			found = false;
	}
	for (size_t i = 0; i < t.n; i++) {
		sorted &= i == 0 || strcmp(t.at[i - 1].name, t.at[i].name) < 0;
		found &= tally_find(&t, t.at[i].name) == &t.at[i];
	}
	check_int("names", (int64_t)t.n, 500);
	check_int("sorted", sorted, true);
	check_int("found", found, true);
	check_int("not found", tally_find(&t, "p") == NULL && tally_find(&t, "q") == NULL &&
		tally_find(&sum, "p") == NULL, true);
	tally_merge(&sum, &t);
	tally_merge(&sum, &t);
	check_int("sum", tally_rows(&sum), 2 * 999 * 1000 / 2);
	check_int("one", tally_find(&sum, "p007")->rows, 2 * (1 + 501));
	tally_clear(&t);
	tally_clear(&sum);
	check_int("cleared", (int64_t)sum.n, 0);
}

int main(void)
{
	test_numbers();
	test_lines();
	test_times();
	test_tally();
	return unit_end();
}
