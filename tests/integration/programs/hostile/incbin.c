/* hostile: has the assembler read a file that has no end; expects: "does not build" */
__asm__(".incbin \"/dev/zero\"");

int main(void)
{
	return 0;
}
