#!/usr/bin/perl
# nightlight-inspect: what it says of a sound store and of damaged ones, and
# that a start does what it says.
use strict;
use warnings;
use Test::More;
use Nightlight::Test;

my $t = Nightlight::Test->new();
# the middle of the two hours before these: no block border is near
my $now = (int(time() / 7200) * 7200 - 3600) * 1000;
my $n_runs = 0;

# Runs it over a store: (exit code, output).
sub inspect {
    my ($dir) = @_;
    $dir ||= $t->dir();
    my $out = `$Nightlight::Test::ROOT/build/nightlight-inspect --head=$dir/head $dir/store 2>&1`;
    return ($? >> 8, $out);
}

sub first { my @f = glob($_[0]); return $f[0] }

# Overwrites bytes of a file, at a negative offset counted from its end.
sub poke {
    my ($file, $off, $bytes) = @_;
    open(my $f, '+<', $file) or die "$file: $!";
    binmode $f;
    seek($f, $off, $off < 0 ? 2 : 0);
    print $f $bytes;
    close $f or die "$file: $!";
}

sub tree { my ($dir) = @_; return `cd $dir && find . -type f | sort | xargs cksum` }

# A copy of the stopped store in which change() breaks something.  exit, and
# `re` for each thing said; then it is started, and after() looks whether that
# did what was said.
sub broken {
    my ($what, $exit, $res, $change, $after) = @_;
    my $u = Nightlight::Test->new();
    my $dir = $u->dir();
    for my $d ('store', 'head') {
        system('cp', '-a', $t->dir() . "/$d", $dir) == 0 or die 'cp';
    }
    # as if it had always been there: a start removes heads elsewhere
    poke("$dir/store/term", 8, "$dir/head" . "\0" x 100);
    $change->($dir);
    my $before = tree($dir);
    my ($rc, $out) = inspect($dir);
    is($rc, $exit, "$what: exit code") or diag($out);
    like($out, $_, "$what: said") or diag($out) for @$res;
    is(tree($dir), $before, "$what: nothing was changed");
    return unless $after;
    $u->write_conf();
    $u->run(ready => 0);
    ok($u->wait_for(sub { $after->($u, $dir, $out) }, $what, 20),
        "$what: and a start does so");
    $u->stop();
}

# A copy of a log with other bytes in its first frame.
sub forge_log {
    my ($from, $to, $at, $bytes) = @_;
    my $s = $t->read_file($from);
    substr($s, $at, length $bytes) = $bytes;
    # its checksums have no seed
    substr($s, 16, 4) = pack 'V',
        crc32c(substr($s, 24, unpack 'V', substr($s, 8, 4)));
    substr($s, 20, 4) = pack 'V', crc32c(substr($s, 0, 20));
    open(my $f, '>', $to) or die "$to: $!";
    binmode $f;
    print $f $s;
    close $f or die "$to: $!";
}

sub samples {
    my ($u) = @_;
    return -1 unless $u->is_ready();
    my $n = $u->value('sum(count_over_time(m[1h]))', time => $now / 1000);
    return defined $n ? $n : 0;
}

sub write_some {
    my ($minute) = @_;
    for my $i (1 .. 20) {
        is($t->write({ __name__ => 'm', i => $i },
            map { [$now + $minute * 60000 + $_ * 1000, $_] } 0 .. 29), 204,
            'written') or last;
    }
}

$t->write_conf();
$t->run();
write_some(-9);
is($t->http('POST', '/-/flush')->{status}, 204, 'flush asked for');
$t->wait_for(sub { first($t->dir() . '/store/blocks/*/meta.json') }, 'block');
$t->wait_for(sub { !-e $t->dir() . '/store/wal/0000000000000001.wal' }, 'log gone');
write_some(-1);

my ($rc, $out) = inspect();
is($rc, 0, 'a running store: exit code') or diag($out);
like($out, qr/open, \d+ process slots taken/, 'head found');
like($out, qr/active, .* 20 series, .* 600 samples can be read/s,
    'arena read to its last sample') or diag($out);

ok($t->stop(), 'stopped');
($rc, $out) = inspect();
is($rc, 0, 'a stopped store: exit code') or diag($out);
my $format = $t->dense() ? 'dense' : 'portable';
like($out, qr/level 1, arena 1: 20 series, \d+ chunks, 600 samples, $format$/m, 'block');
like($out, qr/frames, 20 series, 600 samples\n.*\n  its samples are in the head/,
    'log');
like($out, qr/^term\n  1, head in \S+/m, 'term');
like($out, qr/^deletes\n  0 in force/m, 'deletes');
like($out, qr/^ok: [12] logs, [12] blocks, [12] arenas, 0 faults, 0 left over$/m,
    'sum');

my $log = "store/wal/0000000000000002.wal";
my ($ulid) = first($t->dir() . '/store/blocks/*') =~ m{([^/]+)$};

# ---- logs ----

broken('torn log', 1,
    [qr/1 stretches of \d+ bytes do not check out\n    would repair: skips \d+ torn bytes at offset \d+/,
        qr/would be replayed: \d+ samples/],
    sub {
        unlink glob("$_[0]/head/*");
        poke("$_[0]/$log", -9, 'x');
    }, sub {
        my ($u, $dir, $out) = @_;
        my ($n) = $out =~ /would be replayed: (\d+) samples/;
        return samples($u) == 600 + $n;
    });
broken('log without its header', 1, [qr/skips \d+ torn bytes at offset 0$/m],
    sub { poke("$_[0]/$log", 0, 'xxxx') });
broken('log of another store', 1,
    [qr/CORRUPT: the log belongs to another store\n    would repair: moves it to quarantine/],
    sub {
        unlink glob("$_[0]/head/*");
        forge_log("$_[0]/$log", "$_[0]/$log", 24, 'another store!!!');
    }, sub { return samples($_[0]) == 600
        && -e "$_[1]/store/quarantine/0000000000000002.wal" });
broken('log of an arena that is in blocks', 0,
    [qr/left over: finished: all of it is in blocks\n    would repair: removes it/],
    sub { forge_log("$_[0]/$log", "$_[0]/store/wal/0000000000000001.wal",
        40, pack 'Q<', 1) },
    sub { return samples($_[0]) == 1200
        && !-e "$_[1]/store/wal/0000000000000001.wal" });

# ---- blocks ----

my $quarantined = sub { return samples($_[0]) == 600
    && -d "$_[1]/store/quarantine/$ulid" && !-d "$_[1]/store/blocks/$ulid" };
broken('chunks of a block', 1,
    [qr/block .*checksum.*\n    would repair: moves it to quarantine\/$ulid; 600 samples are missing then/i],
    sub { poke(first("$_[0]/store/blocks/*/chunks/000001"), -9, 'x') },
    sub {
        # a start finds it when somebody asks
        $_[0]->is_ready() && $_[0]->api('query', time => $now / 1000,
            query => 'sum(count_over_time(m[1h]))');
        return $quarantined->(@_);
    });
broken('index of a block', 1, [qr/CORRUPT: block /, qr/moves it to quarantine/],
    sub { poke(first("$_[0]/store/blocks/*/index"), 20, 'xyz') }, $quarantined);
broken('index of a newer format', 1,
    [qr/CORRUPT: .*format version 3.*\n    would repair: leaves it where it is, and out/],
    sub { poke(first("$_[0]/store/blocks/*/index"), 4, "\x03") },
    sub { return samples($_[0]) == 600 && -d "$_[1]/store/blocks/$ulid" });
broken('block gone', 1,
    [qr/CORRUPT: .*No such file.*\n    would repair: leaves it out of answers until/],
    sub { rename(first("$_[0]/store/blocks/*"), "$_[0]/elsewhere") },
    sub { return samples($_[0]) == 600 });
broken('block half made', 0,
    [qr/left over: a block that was being made.*\n    would repair: removes it/],
    sub { mkdir "$_[0]/store/blocks/01ARZ3NDEKTSV4RRFFQ69G5FAV.tmp-for-creation" },
    sub { return samples($_[0]) == 1200
        && !-e "$_[1]/store/blocks/01ARZ3NDEKTSV4RRFFQ69G5FAV.tmp-for-creation" });
broken('block that was not committed', 0,
    [qr/left over: written, but not named.*\n    would repair: removes it/,
        qr/would be replayed: 600/],
    sub {
        # back to before the flush: the MANIFEST of a new store
        my $text = "nightlight-manifest 2\nstore "
            . substr($t->read_file($t->dir() . '/store/store.id'), 0, 32)
            . "\ngeneration 1\nfloor 1\nend 4\n";
        my ($all, $out) = ('', '');
        for (split /\n/, $text) {
            $all .= $_;
            $out .= sprintf "%s %08x\n", $_, crc32c($all);
        }
        open(my $f, '>', "$_[0]/store/MANIFEST") or die $!;
        print $f $out;
        close $f;
        unlink glob("$_[0]/head/*");
    }, sub { return samples($_[0]) == 600 && !-d "$_[1]/store/blocks/$ulid" });
broken('block in quarantine', 1,
    [qr/CORRUPT: block $ulid was damaged and is missing: .*\n    would repair: nothing; copy a good one/],
    sub {
        my $s = $t->read_file($t->dir() . '/store/MANIFEST');
        my ($min, $end) = $s =~ /^block $ulid (\S+) (\S+)/m or die;
        my ($all, $out, $n) = ('', '', 0);
        for (split /\n/, $s) {
            s/ [0-9a-f]{8}$//;
            s/^block $ulid .*/damaged $ulid $min $end/;
            $all .= $_;
            $out .= sprintf "%s %08x\n", $_, crc32c($all);
        }
        open(my $f, '>', "$_[0]/store/MANIFEST") or die $!;
        print $f $out;
        close $f;
        rename "$_[0]/store/blocks/$ulid", "$_[0]/store/quarantine/$ulid" or die;
    }, sub { return samples($_[0]) == 600
        && -d "$_[1]/store/quarantine/$ulid" });

# ---- small files ----

my $refuses = sub { my ($u) = @_;
    my $r = eval { $u->http('GET', '/-/ready') };
    return $r && $r->{status} == 503 && $r->{body} =~ /MANIFEST/ };
broken('MANIFEST', 1,
    [qr/^manifest\n  CORRUPT: .*\n    would not start: restore MANIFEST/m,
        qr/; would not start$/m],
    sub { poke("$_[0]/store/MANIFEST", 30, '~') }, $refuses);
broken('MANIFEST gone', 1,
    [qr/^manifest\n  CORRUPT: missing, but blocks\/ has 1 blocks/m,
        qr/; would not start$/m],
    sub { unlink "$_[0]/store/MANIFEST", glob("$_[0]/head/*") },
    sub { return $_[0]->log_lines(qr/MANIFEST is missing/) > 0 });
broken('DELETES', 1,
    [qr/^deletes\n  CORRUPT: .*\n    would repair: nothing, and answers no query/m],
    sub {
        open(my $f, '>', "$_[0]/store/DELETES") or die $!;
        print $f "what?\n";
        close $f;
    }, sub {
        my $r = eval { $_[0]->http('GET', '/-/ready') };
        return $r && $r->{status} == 200 && $r->{body} =~ /No query.*DELETES/
            && $_[0]->write({ __name__ => 'n' }, [$now + 1000, 1]) == 204
            && $_[0]->api('query', query => 'm')->{code} == 500;
    });
broken('TENANTS', 1,
    [qr/^tenants\n  CORRUPT: TENANTS line 1.*\n    would not start: restore TENANTS/m],
    sub {
        open(my $f, '>', "$_[0]/store/TENANTS") or die $!;
        print $f "nightlight\n";
        close $f;
        unlink glob("$_[0]/head/*");
    }, sub { return $_[0]->log_lines(qr/TENANTS line 1.*or move it away/) > 0 });
broken('DELETES, without a head', 1,
    [qr/^deletes\n  CORRUPT: .*\n    would not start/m],
    sub {
        unlink glob("$_[0]/head/*");
        open(my $f, '>', "$_[0]/store/DELETES") or die $!;
        print $f "what?\n";
        close $f;
    }, sub {
        my $r = eval { $_[0]->http('GET', '/-/ready') };
        return $r && $r->{status} == 503 && $r->{body} =~ /DELETES/;
    });
broken('term cut off', 1,
    [qr/^term\n  CORRUPT: cut off\n    would repair: makes another/m],
    sub { truncate("$_[0]/store/term", 100) },
    sub { return samples($_[0]) == 1200 });
broken('marks of imports and snapshots', 0,
    [qr/^import\/$ulid.adopting\n  left over: of an import\n    would repair: removes it: its block was taken/m,
        qr/^snapshots\/x.tmp\n  left over: a snapshot.*\n    would repair: removes it/m],
    sub { mkdir "$_[0]/store/import/$ulid.adopting";
        mkdir "$_[0]/store/snapshots/x.tmp" },
    sub { return samples($_[0]) == 1200
        && !-e "$_[1]/store/import/$ulid.adopting"
        && !-e "$_[1]/store/snapshots/x.tmp" });

# ---- the head ----

my $all = sub { return samples($_[0]) == 1200 };
broken('control file of the head', 1,
    [qr/^head .*\n  CORRUPT: not the head.*\n    would repair: makes another head/m],
    sub { poke(first("$_[0]/head/*.ctl"), 0, 'x') }, $all);
broken('header of an arena', 1,
    [qr/^arena .*CORRUPT: .*wrong header\n    would repair: makes another/ms],
    sub { poke($_, 0, 'x') for grep { /\.\d+$/ } glob("$_[0]/head/*") }, $all);
broken('arena gone', 1,
    [qr/CORRUPT: .*No such file.*\n    would repair: makes another head/],
    sub { unlink grep { /\.\d+$/ } glob("$_[0]/head/*") }, $all);
broken('memory of an arena', 1, [qr/CORRUPT: .*series \d+/],
    sub {
        for (grep { /\.\d+$/ } glob("$_[0]/head/*")) {
            poke($_, 256 << 10, "\xa5" x (2 << 20));
        }
    });
broken('head of another term', 0, [qr/outdated, of another term/],
    sub { poke("$_[0]/store/term", 0, "\x09") }, $all);
broken('head gone', 0,
    [qr/not there: will be made again/, qr/would be replayed: 600/],
    sub { unlink glob("$_[0]/head/*") }, $all);

unlink $t->dir() . '/store/store.id';
($rc, $out) = inspect();
is($rc, 2, 'no store: exit code');
like($out, qr/^nightlight-inspect: .*store\.id/, 'no store: one line');

# CRC-32C, bit by bit.
sub crc32c {
    my ($bytes) = @_;
    my $crc = 0xffffffff;
    for my $b (unpack 'C*', $bytes) {
        $crc ^= $b;
        $crc = $crc & 1 ? $crc >> 1 ^ 0x82f63b78 : $crc >> 1 for 1 .. 8;
    }
    return ~$crc & 0xffffffff;
}

$t->done();
