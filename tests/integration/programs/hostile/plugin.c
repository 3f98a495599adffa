/* hostile: asks the compiler to load code, and to leave files; expects: "and is nothing" */
#pragma GCC plugin "/tmp/plugin.so"
#pragma GCC optimize("-fplugin=/tmp/plugin.so")
#pragma GCC optimize("-save-temps=/tmp")

int main(void)
{
	return 0;
}
