// Linked against one library as a whole: if that library uses another that it does not declare, this does not
// link.
int main() { return 0; }
