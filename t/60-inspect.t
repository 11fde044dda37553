#!/usr/bin/perl
# nightlight-inspect: what it says of a sound store and of damaged ones.
use strict;
use warnings;
use Test::More;
use Nightlight::Test;

my $t = Nightlight::Test->new();
# the middle of the two hours before these: no block border is near
my $now = (int(time() / 7200) * 7200 - 3600) * 1000;
my $n_runs = 0;

# Runs it over the store, or a copy of it: (exit code, output).
sub inspect {
    my ($dir) = @_;
    $dir ||= $t->dir();
    my $out = `$Nightlight::Test::ROOT/build/nightlight-inspect --head=$dir/head $dir/store 2>&1`;
    return ($? >> 8, $out);
}

# A copy of the stopped store in which change() breaks something.
sub broken {
    my ($what, $re, $change) = @_;
    my $dir = $t->dir() . '/copy' . ++$n_runs;
    mkdir $dir;
    system('cp', '-a', $t->dir() . '/store', $t->dir() . '/head', $dir) == 0
        or die 'cp';
    $change->($dir);
    my ($rc, $out) = inspect($dir);
    is($rc, 1, "$what: exit code");
    like($out, $re, "$what: said where") or diag($out);
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
like($out, qr/level 1, arena 1: 20 series, \d+ chunks, 600 samples/, 'block');
like($out, qr/frames, 20 series, 600 samples/, 'log');
like($out, qr/^ok: [12] logs, [12] blocks, [12] arenas, 0 faults$/m, 'sum');

broken('log', qr/1 stretches of \d+ bytes do not check out/,
    sub { poke("$_[0]/store/wal/0000000000000002.wal", -9, 'x') });
broken('chunks of a block', qr/block .*(?:checksum|CRC)/is,
    sub { poke(first("$_[0]/store/blocks/*/chunks/000001"), -9, 'x') });
broken('index of a block', qr/CORRUPT: block /,
    sub { poke(first("$_[0]/store/blocks/*/index"), 200, 'xyz') });
broken('block gone', qr/CORRUPT: .*/,
    sub { rename(first("$_[0]/store/blocks/*"), "$_[0]/elsewhere") });
broken('MANIFEST', qr/^manifest\n  CORRUPT: /m,
    sub { poke("$_[0]/store/MANIFEST", 30, '~') });
broken('control file of the head', qr/^head .*\n  CORRUPT: not the head/m,
    sub { poke(first("$_[0]/head/*.ctl"), 0, 'x') });
broken('header of an arena', qr/^arena .*CORRUPT: .*wrong header/ms,
    sub { poke($_, 0, 'x') for grep { /\.\d+$/ } glob("$_[0]/head/*") });
broken('arena gone', qr/CORRUPT: .*No such file/,
    sub { unlink grep { /\.\d+$/ } glob("$_[0]/head/*") });
broken('memory of an arena', qr/CORRUPT: .*series \d+/,
    sub {
        for (grep { /\.\d+$/ } glob("$_[0]/head/*")) {
            poke($_, 256 << 10, "\xa5" x (2 << 20));
        }
    });

unlink glob($t->dir() . '/head/*');
($rc, $out) = inspect();
is($rc, 0, 'head gone: exit code');
like($out, qr/not there: will be made again/, 'head gone: said');

unlink $t->dir() . '/store/store.id';
($rc, $out) = inspect();
is($rc, 2, 'no store: exit code');
like($out, qr/^nightlight-inspect: .*store\.id/, 'no store: one line');

$t->done();
