#!/usr/bin/perl
# Files of a later version of Nightlight: each is refused by name, in the log
# and by /-/ready, nothing is misread and nothing is removed; with the file as
# it was everything is there again.
use strict;
use warnings;
use Test::More;
use Nightlight::Test;

my $t = Nightlight::Test->new(formats => 1);
$t->write_conf(store => 'memory=24m retention=10y wal_sync=1s',
    main => 'worker_processes 1;');
my $store = $t->dir . '/store';
my $now = int(time());

# CRC-32C, bit by bit.
sub crc32c {
    my ($bytes, $crc) = @_;
    $crc = ~($crc || 0) & 0xffffffff;
    for my $b (unpack 'C*', $bytes) {
        $crc ^= $b;
        $crc = $crc & 1 ? $crc >> 1 ^ 0x82f63b78 : $crc >> 1 for 1 .. 8;
    }
    return ~$crc & 0xffffffff;
}

# All files of the store with their content, but for what a start may touch.
sub files {
    my %f;
    for my $f (split /\n/, `find $store -type f`) {
        $f{$f} = $t->read_file($f) unless $f =~ m{/(?:lock|term)$};
    }
    return \%f;
}

sub stop_and_forget_head {
    ok($t->stop(), 'stopped');
    unlink glob($t->dir . '/head/*');
}

sub there {
    my ($what) = @_;
    is($t->value('count(old)', time => $now), 20, "$what: block is read");
    is($t->value('count(young)', time => $now), 20, "$what: log was read");
}

# Starts with a file that change() has made newer.  The store must not become
# ready, and say why with `re`.
sub refused {
    my ($what, $file, $re, $change) = @_;
    my $before = $t->read_file($file);
    my $newer = $change->($before);
    $t->write_file_at($file, $newer);
    my $files = files();
    $t->write_file('error.log', '');
    $t->run(ready => 0);
    my $r;
    ok($t->wait_for(sub {
        $r = eval { $t->http('GET', '/-/ready') };
        return $r && $r->{status} == 503 && $r->{body} =~ $re;
    }, "ready: $re"), "$what: /-/ready names it")
        or diag(explain($r));
    ok($t->wait_for(sub { $t->log_lines($re) }, "log: $re"),
        "$what: the log names it");
    is(scalar(grep { !/\[(?:crit|error|warn)\]/ } $t->log_lines($re)), 0,
        "$what: loudly");
    is($t->write({ __name__ => 'new' }, [$now * 1000, 1]), 503,
        "$what: writes are refused");
    is($t->api('query', query => 'old', time => $now)->{code}, 503,
        "$what: queries too");
    ok($t->stop(), "$what: stopped");
    my $after = files();
    my @gone = grep { !exists $after->{$_} } sort keys %$files;
    my @changed = grep { exists $after->{$_} && $after->{$_} ne $files->{$_} }
        sort keys %$files;
    is_deeply(\@gone, [], "$what: nothing was removed");
    is_deeply(\@changed, [], "$what: nothing was changed");
    is($t->read_file($file) eq $newer, 1, "$what: not the file either");
    my @written = grep { !exists $files->{$_} && length $after->{$_} > 100 }
        sort keys %$after;
    is_deeply(\@written, [], "$what: nothing was logged again");
    # there was none before: an empty one is damaged
    $before eq '' ? unlink $file : $t->write_file_at($file, $before);
    unlink glob($t->dir . '/head/*');
    $t->run();
    there($what);
    stop_and_forget_head();
}

sub Nightlight::Test::write_file_at {
    my ($self, $file, $content) = @_;
    open(my $f, '>', $file) or die "$file: $!";
    binmode $f;
    print $f $content;
    close $f or die "$file: $!";
}

# ---- a store with a block and a log ----

$t->run();
is($t->write(map { ({ __name__ => 'old', i => $_ }, [$now * 1000, $_]) }
    1 .. 20), 204, 'written');
is($t->http('POST', '/-/flush')->{status}, 204, 'flush');
$t->wait_for(sub { ($t->metric('nightlight_blocks') || 0) == 1 }, 'block');
is($t->write(map { ({ __name__ => 'young', i => $_ }, [$now * 1000, $_]) }
    1 .. 20), 204, 'written');
there('at first');
stop_and_forget_head();

# ---- files without which there is no start ----

refused('MANIFEST', "$store/MANIFEST", qr/MANIFEST has format 9/, sub {
    my ($s) = @_;
    my @lines = split /\n/, $s;
    my $text = '';
    $lines[0] =~ s/manifest \d+/manifest 9/;
    # the checksum of a line is over all lines so far, without checksums
    for (@lines) {
        s/ [0-9a-f]{8}$// or die;
        $text .= $_;
        $_ .= sprintf ' %08x', crc32c($text);
    }
    return join("\n", @lines) . "\n";
});

refused('DELETES', "$store/DELETES", qr/DELETES has format 9/, sub {
    my ($all, $text) = ('', '');
    for ('nightlight-deletes 9', 'something new', 'end 2') {
        $all .= $_;
        $text .= sprintf "%s %08x\n", $_, crc32c($all);
    }
    return $text;
});

refused('term', "$store/term", qr/"term" has 5000 bytes/,
    sub { return $_[0] . "\0" x (5000 - length $_[0]) });

my $id = pack 'H*', $t->read_file("$store/store.id") =~ /^([0-9a-f]{32})/;
for my $c ([version => 4, 2], [type => 5, 77], [flags => 6, 0x82]) {
    my ($what, $at, $value) = @$c;
    my ($log) = sort { -s $b <=> -s $a } glob "$store/wal/*.wal";
    refused("log, $what of a frame", $log,
        qr/frame of version \d+, type \d+, flags \d+.*later version/, sub {
            my ($s) = @_;
            # the frame behind the first one, whose checksum has no seed
            my $off = 24 + unpack 'V', substr($s, 8, 4);
            die unless substr($s, $off, 4) eq substr($s, 0, 4);
            substr($s, $off + $at, 1) = chr $value;
            substr($s, $off + 20, 4) = pack 'V',
                crc32c(substr($s, $off, 20), crc32c($id));
            return $s;
        });
}

# ---- a block: the others answer, it stays, and everybody is told ----

my ($index) = glob "$store/blocks/*/index";
my ($ulid) = $index =~ m{blocks/(\w+)/};
my $before = $t->read_file($index);
my $newer = $before;
substr($newer, 4, 1) = chr 3;
$t->write_file_at($index, $newer);
$t->write_file('error.log', '');
$t->run();
my $r;
ok($t->wait_for(sub { $r = $t->http('GET', '/-/ready');
    $r->{body} =~ /Block $ulid has a newer format: index: format version 3/ },
    'ready'), 'block: /-/ready names it') or diag($r->{body});
is($r->{status}, 200, 'block: the store is ready');
ok($t->wait_for(sub { $t->log_lines(qr/$ulid.*format version 3/) }, 'log'),
    'block: the log names it');
$r = $t->api('query', query => 'count(young)', time => $now);
is($r->{data}{result}[0]{value}[1], 20, 'block: others are read');
like($r->{warnings}[0], qr/block $ulid has a newer format/, 'block: a warning');
is($t->value('count(old)', time => $now), undef, 'block: it is not read');
is($t->write({ __name__ => 'new' }, [$now * 1000, 1]), 204,
    'block: writes go on');
ok($t->stop(), 'stopped');
is($t->read_file($index), $newer, 'block: it is where it was');
$t->write_file_at($index, $before);
$t->run();
there('block');

$t->done();
