/*
 * Makes read-only what was to be written only once, when the program was loaded: its tables of
 * addresses, which an attacker would write to. A dynamic loader does this; a static-pie has none,
 * and musl's start-up code leaves it out.
 */
#include <link.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base.h"

/* The first object is the program itself: ends there. */
static int protect(struct dl_phdr_info *program, size_t size, void *unused)
{
	uintptr_t page = (uintptr_t)sysconf(_SC_PAGESIZE);

	(void)size;
	(void)unused;
	for (size_t i = 0; i < program->dlpi_phnum; i++) {
		const ElfW(Phdr) *part = &program->dlpi_phdr[i];
		if (part->p_type != PT_GNU_RELRO)
			continue;
		uintptr_t start = program->dlpi_addr + part->p_vaddr, end = start + part->p_memsz;
		start &= -page;
		mprotect((void *)start, (end & -page) - start, PROT_READ);
	}
	return 1;
}

void relro_protect(void)
{
	dl_iterate_phdr(protect, NULL);
}
