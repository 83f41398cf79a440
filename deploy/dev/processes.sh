# How scripts beside this one look at the servers that they start. Sourced, not run.

# runs PID WORD: it is there, and the command that it runs has WORD in it: not another's that got its number.
runs() { grep -qa "$2" "/proc/$1/cmdline" 2>/dev/null; }

# gone PID: ended, or a zombie whose last thread has ended; only then are its ports free.
gone() {
  case $(sed 's/.*) //' "/proc/$1/stat" 2>/dev/null) in
    '') return 0 ;;
    Z*) [ "$(find "/proc/$1/task" -mindepth 1 -maxdepth 1 2>/dev/null | wc -l)" -le 1 ] ;;
    *) return 1 ;;
  esac
}
