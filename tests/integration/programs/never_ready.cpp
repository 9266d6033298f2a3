// A program that says nothing, does nothing and does not end by itself.
#include <unistd.h>

int main() {
  for (;;) (void)::pause();
}
