/* hostile: asks for more memory than there is before it begins; expects: "rocess" */
static char nothing[1L << 30];

int main(void)
{
	for (long i = 0; i < sizeof(nothing); i += 4096)
		nothing[i] = 1;
	return 0;
}
