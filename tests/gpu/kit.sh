#!/bin/sh
# kit.sh FOLDER FILE: make gpu-kit's last step.  FOLDER has bin/ and build/; with the libraries that they're linked to and the
# tests it becomes FILE (.tar.xz), for a machine that has a GPU but lacks compilers or packages:
#
#	python3 -m tarfile -e gpu-kit.tar.xz && gpu-kit/run test && gpu-kit/run bench
#
# That machine's C library is no older than this one's; it has bash, and a python3 with NumPy, msgpack and xxhash.
set -eu
folder=$1 file=$2
cd "$(dirname "$0")/../.."

# The C and C++ libraries are those of the other machine: its own programs, python3 too, need theirs.
rm -rf "${folder:?}/lib"
mkdir -p "$folder/lib"
ldd "$folder"/bin/* "$folder"/build/*/* 2>/dev/null |
	awk '$2 == "=>" && $3 ~ /^\// && $1 !~ /^(libc|libm|libdl|libpthread|librt|libstdc\+\+|libgcc_s)\.so/ { print $3 }' | sort -u |
	while read -r library
	do
		cp -L "$library" "$folder/lib/"
	done

# What the tests read of the tree.
tar cf - --exclude='*.pyc' tests kernels/cuda | tar xf - -C "$folder"
cat >"$folder/run" <<'END'
#!/bin/sh
# run test|bench: tests/gpu/test.sh or bench.sh with the programs beside this file; the report is gpu-test.txt or gpu-bench.txt there.
here=$(cd "$(dirname "$0")" && pwd) || exit
for cuda in /usr/local/cuda /usr/local/cuda-*
do
	for name in lib64 lib targets/x86_64-linux/lib
	do
		test ! -e "$cuda/$name" || LD_LIBRARY_PATH=${LD_LIBRARY_PATH:+$LD_LIBRARY_PATH:}$cuda/$name
	done
done
REPORT=${REPORT:-$here/gpu-$1.txt}
export LD_LIBRARY_PATH REPORT
BIN=$here/bin BUILD=$here/build exec bash "$here/tests/gpu/$1.sh"
END
chmod +x "$folder/run"
tar cJf "$file" -C "$(dirname "$folder")" "$(basename "$folder")"
ls -l "$file"
