/* Files that are part of the program, NUL-terminated: the sample config, the licences, and the
 * versions of what is linked in. */
	.section .rodata
	.global conf_sample, conf_licenses, conf_versions
conf_versions:
#ifdef VERSIONS
	.incbin VERSIONS
#else
	.ascii "shared libraries of this system\n"
#endif
	.byte 0
conf_sample:
	.incbin "tdispatch.ini"
	.byte 0
conf_licenses:
	.incbin "LICENSE"
	.ascii "\n---- musl, the C library that is linked in:\n\n"
	.incbin "dist/licenses/musl.txt"
	.ascii "\n---- OpenSSL, which is linked in:\n\n"
	.incbin "dist/licenses/openssl.txt"
	.ascii "\n---- libpq, a part of PostgreSQL, which is linked in:\n\n"
	.incbin "dist/licenses/postgresql.txt"
	.byte 0
	.section .note.GNU-stack, "", %progbits
