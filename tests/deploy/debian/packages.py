"""The packages: made, taken apart, and packed again as another version."""

import os
import pathlib
import re
import shutil
import subprocess


def run(*command, **more):
    done = subprocess.run([str(c) for c in command], capture_output=True, text=True, timeout=600, check=False, **more)
    if done.returncode != 0:
        raise AssertionError(f"{' '.join(map(str, command))}: exit code {done.returncode}\n{done.stdout}{done.stderr}")
    return done.stdout


class Packages:
    """Of a build tree, in a directory of their own. Compressed little: what is to be seen is not how small they get."""

    EPOCH = 1700000000  # 2023-11-14

    def __init__(self, cpack, build, directory):
        self.directory = pathlib.Path(directory)
        made = self.directory / "made"
        run(cpack, "--config", pathlib.Path(build) / "CPackConfig.cmake", "-B", made, "-D", "CPACK_DEBIAN_COMPRESSION_TYPE=gzip",
            cwd=self.directory, env={**os.environ, "SOURCE_DATE_EPOCH": str(self.EPOCH)})
        self.files = {file.name.split("_")[0]: file for file in sorted(made.glob("*.deb"))}
        assert set(self.files) == {"fiberd", "fiberd-dbgsym", "libfiberd-dev"}, self.files
        shutil.rmtree(made / "_CPack_Packages")

    def field(self, package, name):
        return run("dpkg-deb", "-f", self.files[package], name).strip()

    def unpacked(self, package):
        """Its files, in a directory that is made once."""
        target = self.directory / f"{package}.root"
        if not target.exists():
            run("dpkg-deb", "-x", self.files[package], target)
        return target

    def as_version(self, package, version):
        """The same, called another version; its files are the same."""
        raw = self.directory / f"{package}.raw"
        run("dpkg-deb", "-R", self.files[package], raw)
        control = raw / "DEBIAN/control"
        text, changed = re.subn(r"^Version: .*$", f"Version: {version}", control.read_text(), flags=re.M)
        assert changed == 1, text
        control.write_text(text)
        target = self.directory / f"{package}-{version}.deb"
        run("dpkg-deb", "-Zgzip", "-z1", "--root-owner-group", "-b", raw, target)
        shutil.rmtree(raw)
        return target
