#!/usr/bin/perl
# Exemplars as Prometheus sends them: each in a TimeSeries of its own, without
# a sample.  They are of the series with these labels, if there is one; also of
# one whose samples lie in the arena before, and after the loss of the head.
use strict;
use warnings;
use Test::More;
use Nightlight::Test;

*field = \&Nightlight::Test::field;
*varint = \&Nightlight::Test::varint;
*labels_pb = \&Nightlight::Test::labels_pb;

my $t = Nightlight::Test->new();
$t->write_conf();
$t->run();
my $now = int(time()) * 1000;

# 1.0: exemplars [trace id, ms] of a series
sub alone1 {
    my ($labels, @x) = @_;
    return field(1, labels_pb($labels) . join '', map {
        field(3, labels_pb({ trace_id => $_->[0] }) . "\x11" . pack('d<', 1.5)
            . "\x18" . varint($_->[1])) } @x);
}

# 2.0: series [labels, [trace id, ms]...], or [labels, \ms] with one sample
sub request2 {
    my (@series) = @_;
    my @symbols = ('');
    my $refs = sub { join '', map { push @symbols, $_; varint($#symbols) } @_ };
    my $pb = '';
    for my $s (@series) {
        my ($labels, @x) = @$s;
        my $ts = field(1, $refs->(map { ($_, $labels->{$_}) } sort keys %$labels));
        for my $x (@x) {
            $ts .= ref $x eq 'ARRAY'
                ? field(4, field(1, $refs->('trace_id', $x->[0]))
                    . "\x11" . pack('d<', 1.5) . "\x18" . varint($x->[1]))
                : field(2, "\x09" . pack('d<', 1) . "\x10" . varint($$x));
        }
        $pb .= field(5, $ts);
    }
    return join('', map { field(4, $_) } @symbols) . $pb;
}

my %V2 = (headers => { 'X-Prometheus-Remote-Write-Version' => '2.0.0',
    'Content-Type' => 'application/x-protobuf;proto=io.prometheus.write.v2.Request' });

sub written {
    my ($r) = @_;
    return join ' ', $r->{status}, map {
        my $h = $r->{headers}{"x-prometheus-remote-write-$_-written"};
        defined $h ? $h : '-' } qw(samples exemplars);
}

# Trace ids of all exemplars: "series: id id; ...".
sub there {
    my $r = $t->api('query_exemplars', query => '{__name__=~".+"}',
        start => $now / 1000 - 3600, end => $now / 1000 + 600);
    return join '; ', sort map {
        "$_->{seriesLabels}{__name__}: " . join ' ',
            map { $_->{labels}{trace_id} } @{$_->{exemplars}} } @{$r->{data}};
}

is($t->write({ __name__ => 'a' }, [$now, 1], { __name__ => 'b', j => 'x' },
    [$now, 1]), 204, 'series');
my $r = $t->write_pb(alone1({ __name__ => 'a' }, ['a1', $now])
    . alone1({ __name__ => 'unknown' }, ['u1', $now])
    . alone1([['j', 'x'], ['__name__', 'b']], ['b1', $now]));
is($r->{status}, 204, '1.0: exemplars alone');
is(there(), 'a: a1; b: b1', 'are of the known series, in any order of labels');

$r = $t->write_pb(request2([{ __name__ => 'a' }, ['a2', $now + 1]],
    [{ __name__ => 'b', j => 'x' }, ['b2', $now + 1], ['b3', $now + 2]]), %V2);
is(written($r), '204 0 3', '2.0: exemplars alone are written');
$r = $t->write_pb(request2([{ __name__ => 'unknown' }, ['u2', $now]],
    [{ __name__ => 'new' }, \$now], [{ __name__ => 'new' }, ['n1', $now]]), %V2);
is(written($r), '400 1 1', 'of a series that comes in the same request, too');
is($r->{body} =~ s/\n$//r, 'TimeSeries must contain at least one sample or '
    . 'histogram for series {__name__="unknown"}', 'and the unknown one is told');
is(there(), 'a: a1 a2; b: b1 b2 b3; new: n1', 'all are there');
$r = $t->write_pb(request2([{ __name__ => 'bad', '' => 'x' }, ['x', $now]]), %V2);
is(written($r), '400 0 0', 'invalid labels are told');
is(() = $r->{body} =~ /invalid/g, 1, 'once');

# ---- samples in the arena before ----

is($t->http('POST', '/-/flush')->{status}, 204, 'flush');
$t->wait_for(sub { $t->metric('nightlight_flushes_total') > 0
    || $t->metric('nightlight_head_arenas') > 1 }, 'another arena');
for my $v (1, 2) {
    my $id = "late$v";
    $r = $v == 1 ? $t->write_pb(alone1({ __name__ => 'a' }, [$id, $now + 3]))
        : $t->write_pb(request2([{ __name__ => 'b', j => 'x' },
            [$id, $now + 3]]), %V2);
    like($r->{status}, qr/^(?:204|400)$/, "$v.0: one of a series that is flushed");
}
my $have = there();
like($have, qr/^a: a1 a2(?: late1)?; b: b1 b2 b3(?: late2)?; new: n1$/,
    'is there, if its arena still was');

# ---- without the head ----

$t->kill9_all();
unlink glob($t->dir . '/head/*');
$t->run();
$r = there();
# what was in the log of the arena that is flushed went with it
like($have, qr/\Q$_\E/, 'what is there was there') for $r =~ /(\w+\d)/g;
is($t->write({ __name__ => 'c' }, [$now, 1]), 204, 'a series');
is($t->write_pb(alone1({ __name__ => 'c' }, ['c1', $now]))->{status}, 204,
    'and its exemplar');
$t->kill9_all();
unlink glob($t->dir . '/head/*');
$t->run();
like(there(), qr/c: c1/, 'come back from the log');
$t->done();
