/*
 * Runs a fuzz target without libFuzzer: the files of a folder, then some thousands of simple
 * changes of them, the same in every run.
 *
 *	TARGET FOLDER EXECUTIONS [BROKEN]
 *
 * The last line is "N executions". An input that breaks the target is left in the file BROKEN.
 */
#include <dirent.h>
#include <sanitizer/common_interface_defs.h>

#include "fuzz.h"

#define FILES_MAX 256
#define INPUT_MAX 8192

static struct dirent **names;
static struct span file[FILES_MAX];
static size_t nfile;

static uint32_t state = 2026;
static struct span input;               /* that runs now */
static const char *broken;

const char *__asan_default_options(void);

const char *__asan_default_options(void)
{
	return "handle_abort=1";
}

static void keep_input(void)
{
	FILE *f = broken ? fopen(broken, "wb") : NULL;

	if (!f)
		return;
	fwrite(input.p, 1, input.n, f);
	fclose(f);
	fprintf(stderr, "the input is in %s\n", broken);
}

/* 0 ... n - 1 */
static size_t pick(size_t n)
{
	state ^= state << 13;
	state ^= state >> 17;
	state ^= state << 5;
	return n ? state % n : 0;
}

static void read_file(const char *folder, const char *name)
{
	static char content[INPUT_MAX];
	struct buf path = { 0 };

	buf_fmt(&path, "%s/%s", folder, name);
	FILE *f = fopen(buf_cstr(&path), "rb");
	if (!f) {
		perror(path.p);
		exit(2);
	}
	size_t n = fread(content, 1, sizeof content, f);
	fclose(f);
	buf_free(&path);
	file[nfile++] = fuzz_copy(content, n);
}

/* In the order of their names, so that every run is the same. */
static void read_files(const char *folder)
{
	int n = scandir(folder, &names, NULL, alphasort);

	for (int i = 0; i < n; i++) {
		if (names[i]->d_name[0] != '.' && nfile < FILES_MAX)
			read_file(folder, names[i]->d_name);
		free(names[i]);
	}
	free(names);
	if (nfile == 0) {
		fprintf(stderr, "%s: no files\n", folder);
		exit(2);
	}
}

static void run(struct span bytes)
{
	input = fuzz_copy(bytes.p, bytes.n);
	LLVMFuzzerTestOneInput((const uint8_t *)input.p, input.n);
	fuzz_free(input);
}

/* Replaces `old` bytes of b at `at` by n bytes of p. */
static void splice(struct buf *b, size_t at, size_t old, const char *p, size_t n)
{
	struct buf out = { 0 };

	buf_add(&out, b->p, at);
	buf_add(&out, p, n);
	buf_add(&out, b->p + at + old, b->len - at - old);
	buf_free(b);
	*b = out;
}

/* Changes, takes out or puts in a few bytes; what is put in comes from a file or is a byte that
 * parsers look for. */
static void mutate(struct buf *b)
{
	static const char telling[] =
		"\0\n\r\t %+&=:\\'\"$_[]()#;,-/*.0123456789abcdefsAEZ~\x7f\x80\xff";
	struct span from = file[pick(nfile)];
	size_t at = pick(b->len + 1),
		old = pick(2) ? pick(b->len - at < 8 ? b->len - at + 1 : 8) : 0;

	if (pick(3)) {
		splice(b, at, old, &telling[pick(sizeof telling - 1)], 1);
	} else {
		size_t start = pick(from.n + 1),
			n = pick(from.n - start < 64 ? from.n - start + 1 : 64);
		splice(b, at, old, from.p + start, n);
	}
}

static void run_mutated(struct span seed)
{
	struct buf b = { 0 };

	buf_reserve(&b, seed.n + 1);
	buf_add(&b, seed.p, seed.n);
	for (size_t changes = 1 + pick(4); changes > 0; changes--)
		mutate(&b);
	run((struct span){ b.p, b.len });
	buf_free(&b);
}

int main(int argc, char **argv)
{
	size_t executions = argc > 2 ? strtoul(argv[2], NULL, 10) : 0, done = 0;

	if (argc < 3) {
		fprintf(stderr, "usage: %s FOLDER EXECUTIONS [BROKEN]\n", argv[0]);
		return 2;
	}
	broken = argc > 3 ? argv[3] : NULL;
	__sanitizer_set_death_callback(keep_input);
	read_files(argv[1]);
	for (; done < nfile; done++)
		run(file[done]);
	for (; done < executions; done++)
		run_mutated(file[done % nfile]);
	for (size_t i = 0; i < nfile; i++)
		fuzz_free(file[i]);
	printf("%zu executions\n", done);
	return 0;
}
