/* hostile: a program of a gigabyte, on the disk; expects: "does not build" */
static char data[1 << 30] = { 1 };

int main(void)
{
	return data[0];
}
