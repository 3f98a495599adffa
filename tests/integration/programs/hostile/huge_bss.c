/* hostile: asks for more memory than there is before it begins; expects: "MiB of memory that" */
static char nothing[1L << 30];

int main(void)
{
	for (long i = 0; i < sizeof(nothing); i += 4096)
		nothing[i] = 1;
	return 0;
}
